# SPDX-License-Identifier: BSD-2-Clause
"""The tools of these tests, on plain traffic: a capture that misses packets proves nothing."""
import socket

import pytest

import topology as net
from esp_peer import ICMP, IP, UDP, Dot1Q, Ether, IPSecIntegrityError, IPv6, Peer, Raw, \
        algorithms_of, assert_checksums, ip_of, raw

PEER_MAC, HOST_MAC = "02:00:00:00:00:02", "02:00:00:00:00:01"

def test_capture_sees_clear_traffic(wire):
    capture = wire.capture()
    for family in (4, 6):
        wire.a.run("ping", "-c1", "-W5", wire.b.address(family))
    for name in ("a", "b"):
        for proto in (IP, IPv6):
            capture.wait(lambda f, p=proto: Ether(f).haslayer(p) and net.kind(f) == "clear",
                         f"ping in {proto.__name__}", port=name)
    assert {"arp", "nd"} <= {net.kind(f) for f in capture.taken()}


def test_wirecount_counts_what_the_kernel_counted(wire):
    for family in (4, 6):   # addresses are resolved and groups joined before counting
        wire.a.run("ping", "-c1", "-W5", wire.b.address(family))
    counter = wire.wirecount()
    wire.a.run("ping", "-c100", "-i0.002", "-s1000", wire.b.address(4), timeout=30)
    wire.a.run("ping", "-c100", "-i0.002", wire.b.address(6), timeout=30)
    result = counter.stop()
    least, most = result["kernel"]
    assert 400 <= least <= result["packets"] <= most < 420
    assert result["clear"] >= 400 and result["lost"] == 0 and result["esp"] == 0


def test_wirecount_finds_repetitions_and_plaintext(lone):
    port = lone.port(lone.a)
    peer = Peer(net.new_sa("10.9.0.2", "10.9.0.1", 0x1001))
    capture_end = lone.a.socket(socket.AF_PACKET, socket.SOCK_RAW)
    capture_end.bind((net.IFNAME, 0))
    counter = lone.wirecount("-m", "attack at dawn")
    inner = IP(src="10.9.0.2", dst="10.9.0.1") / UDP() / Raw(b"attack at dawn")
    ether = Ether(src=PEER_MAC, dst=HOST_MAC)
    for packet in (inner, peer.seal(inner, seq=1, iv=b"\0" * 8),
                   peer.seal(inner, seq=2, iv=b"\0" * 8), peer.seal(inner, seq=2)):
        capture_end.send(raw(ether / packet))
    result = counter.stop()
    assert (result["esp"], result["clear"], result["marker"]) == (3, 1, 1)
    assert (result["repeated_iv"], result["repeated_seq"]) == (1, 1)
    assert result["clear_samples"][0].startswith("10.9.0.2 > 10.9.0.1 protocol 17")
    port.close()
    capture_end.close()


def test_vlan_tags_are_put_back(lone):
    capture = lone.capture()
    sender = lone.a.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sender.bind((net.IFNAME, 0))
    frame = raw(Ether(src=PEER_MAC, dst=HOST_MAC) / Dot1Q(vlan=42) /
                IP(src="10.9.0.2", dst="10.9.0.1") / UDP() / Raw(b"tagged"))
    sender.send(frame)
    assert capture.wait(lambda f: b"tagged" in f, "the tagged frame") == frame
    sender.close()


@pytest.mark.parametrize("suite", [s for s in net.SUITES if algorithms_of(s)[0]])
def test_scapy_agrees_with_itself(suite):
    """seal and open_exact are inverse, and each part of the packet is authenticated."""
    for mode in ("transport", "tunnel"):
        for version in (IP, IPv6):
            for esn in (False, True):
                check_scapy(suite, mode, version, esn)


def check_scapy(suite, mode, version, esn):
    src, dst = ("fd00:9::1", "fd00:9::2") if version is IPv6 else ("10.9.0.1", "10.9.0.2")
    sa = net.new_sa(src, dst, 0x1001, suite, mode=mode, esn=esn)
    peer = Peer(sa, high=7)
    inner = version(raw(version(src=src, dst=dst) / UDP(sport=5, dport=6) / Raw(b"x" * 101)))
    frame = raw(Ether(src=PEER_MAC, dst=HOST_MAC) / peer.seal(inner))
    _, seq, opened = peer.open_exact(frame)
    assert seq == 1 and raw(opened) == raw(inner)
    assert_checksums(opened)
    broken = frame[:-1] + bytes([frame[-1] ^ 1])
    with pytest.raises(IPSecIntegrityError):
        peer.open(ip_of(broken))
    if esn:
        with pytest.raises(IPSecIntegrityError):
            Peer(sa, high=8).open(ip_of(frame))


def test_wrong_checksum_is_noticed():
    good = IP(raw(IP(src="10.9.0.1", dst="10.9.0.2") / ICMP()))
    assert_checksums(good)
    good[ICMP].chksum ^= 1
    with pytest.raises(AssertionError):
        assert_checksums(good)


def test_close_removes_everything():
    topology = net.Topology()
    topology.a.spawn("sleep", "1000")
    topology.write("file", "x")
    assert topology.residue()
    topology.close()
    assert topology.residue() == []
