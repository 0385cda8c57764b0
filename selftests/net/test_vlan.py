# SPDX-License-Identifier: BSD-2-Clause
"""VLAN-tagged frames on an untagged interface: a tag is no way around the policy.

Priority tags (VLAN 0) belong to the interface itself and must work like untagged frames; what
carries another VLAN number is for nobody here, but ESP in it is still decrypted and clear text
still refused, before any VLAN device sees it.
"""
import socket

import pytest

import topology as net
from esp_peer import IP, UDP, Dot1Q, Ether, Peer, Raw, raw

PEER_MAC = "02:00:00:00:00:02"


@pytest.fixture
def tagged(product, lone):
    """The attached host, its inbound SA in scapy's hands and a port on the wire."""
    host = lone.a
    sas = [net.new_sa("10.9.0.1", "10.9.0.2", 0x3000), net.new_sa("10.9.0.2", "10.9.0.1", 0x3001)]
    host.neighbour("10.9.0.2", PEER_MAC)
    rule = {"name": "all", "action": "protect", "peer": "peer", "protection": "wire"}
    policy = net.policy([rule], {"peer": ["10.9.0.2"]}, {"wire": net.protection_of()})
    host.ipsecbpf("attach", net.IFNAME, "--policy", lone.write("policy.json", policy),
                  "--sa", lone.write("sa.json", net.sa_file(*sas), mode=0o600), "--fresh")
    lone.peer = Peer(sas[1])
    lone.wire_port = lone.port(host)
    lone.receiver = host.socket(socket.AF_INET, socket.SOCK_DGRAM)
    lone.receiver.bind(("10.9.0.1", 7000))
    lone.receiver.settimeout(5)
    yield lone
    lone.receiver.close()


def send(lone, packet, *tags):
    frame = Ether(src=PEER_MAC, dst=lone.a.mac)
    for tag in tags:
        frame /= tag
    lone.wire_port.send(raw(frame / packet))


def datagram(payload):
    return IP(src="10.9.0.2", dst="10.9.0.1") / UDP(sport=7000, dport=7000) / Raw(payload)


def test_priority_tagged_esp_is_received(tagged):
    send(tagged, tagged.peer.seal(datagram(b"priority")), Dot1Q(vlan=0, prio=5))
    assert tagged.receiver.recv(100) == b"priority"


def test_esp_in_a_vlan_is_verified(tagged):
    before = tagged.a.passed("in_verified")
    send(tagged, tagged.peer.seal(datagram(b"vlan")), Dot1Q(vlan=42))
    net.wait_until(lambda: tagged.a.passed("in_verified") == before + 1, "verified in VLAN 42")


@pytest.mark.parametrize("tags", ([Dot1Q(vlan=0)], [Dot1Q(vlan=42)],
                                  [Dot1Q(type=0x8100, vlan=42), Dot1Q(vlan=0)]),
                         ids=("priority", "vlan", "double"))
def test_clear_text_in_a_tag_is_dropped(tagged, tags):
    # Two tags in front hide the packet: then the default for other ethertypes applies.
    before = {reason: tagged.a.drops(reason) for reason in ("clear_text", "non_ip")}
    send(tagged, datagram(b"clear"), *tags)
    net.wait_until(lambda: sum(tagged.a.drops(reason) - count for reason, count in before.items())
                   == 1, "the drop is counted")
    send(tagged, tagged.peer.seal(datagram(b"fence")))
    assert tagged.receiver.recv(100) == b"fence"


def test_broken_icv_in_a_tag_is_dropped(tagged):
    before = tagged.a.drops("icv")
    packet = raw(tagged.peer.seal(datagram(b"broken")))
    send(tagged, Raw(packet[:-1] + bytes([packet[-1] ^ 1])), Dot1Q(vlan=42, type=0x0800))
    tagged.a.wait_drop("icv", before)


# ---- rules by VLAN and DSCP --------------------------------------------------------------------

@pytest.fixture
def ruled(product, lone):
    """VLAN 42 is for voice in the clear and for the peer; 0 for the peer. The tags that the stack has
    taken off, or not yet put in, are not in the frames that tc sees."""
    host = lone.a
    sas = [net.new_sa("10.9.0.1", "10.9.0.2", 0x3000), net.new_sa("10.9.0.2", "10.9.0.1", 0x3001)]
    policy = net.policy(
        [{"name": "voice", "direction": "out", "vlan": 42, "dscp": "ef", "remote": "10.42.0.0/16",
          "action": "bypass"},
         {"name": "peer", "vlan": [0, 42], "action": "protect", "peer": "peer", "protection": "wire"}],
        {"peer": ["10.9.0.2"]}, {"wire": net.protection_of()})
    host.ipsecbpf("attach", net.IFNAME, "--policy", lone.write("policy.json", policy),
                  "--sa", lone.write("sa.json", net.sa_file(*sas), mode=0o600), "--fresh")
    lone.peer = Peer(sas[1])
    lone.wire_port = lone.port(host)
    return lone


def bridged(host):
    """A socket whose frames the host bridges to the NIC: the stack has taken their tags off by then."""
    host.ip("link", "add", "br0", "type", "bridge")
    host.ip("link", "add", "x0", "type", "veth", "peer", "name", "x1")
    for name in (net.IFNAME, "x0"):
        host.ip("link", "set", name, "master", "br0")
    for name in ("br0", "x0", "x1"):
        host.ip("link", "set", name, "up")
    sender = host.socket(socket.AF_PACKET, socket.SOCK_RAW)
    sender.bind(("x1", 0))
    net.wait_until(lambda: "state forwarding" in net.run_command(
        ["bridge", "-n", host.netns, "link", "show", "dev", "x0"]).stdout, "bridge port")
    return sender


def test_what_goes_out_in_a_vlan(ruled):
    """Tags that stand beside the frame in tc are in the frame again on the wire."""
    host, capture = ruled.a, ruled.capture()
    passed, dropped = host.passed("out_bypass"), host.drops("policy_discard")
    voice = {"src": "10.42.0.1", "dst": "10.42.0.2"}
    with bridged(host) as sender:
        for tags, tos in (([43], 0xb8), ([42], 0xb4), ([42], 0), ([], 0xb8), ([43, 42], 0xb8),
                          ([0, 43], 0xb8), ([42], 0xb8), ([42, 43], 0xbb), ([0, 42], 0xb8)):
            frame = Ether(src="02:00:00:00:00:42", dst=PEER_MAC)
            for tag in tags:
                frame /= Dot1Q(vlan=tag)
            sender.send(raw(frame / IP(tos=tos, **voice) / UDP(sport=9, dport=9) / Raw(bytes(20))))
        host.wait_drop("policy_discard", dropped, 6)
        net.wait_until(lambda: host.passed("out_bypass") == passed + 3, "three in the VLAN")
    capture.wait(lambda frame: frame[12:22] == bytes.fromhex("81000000" "8100002a" "0800"), "the last")
    sent = [frame for frame in capture.taken("a") if frame[6:12] == bytes.fromhex("020000000042")]
    assert [frame[12:18].hex() for frame in sent] == ["8100002a0800", "8100002a8100", "810000008100"]


def test_what_is_opened_in_a_vlan(ruled):
    host = ruled.a
    verified, refused = host.passed("in_verified"), host.drops("inner_policy")
    for count, tags in enumerate(([], [Dot1Q(vlan=0, prio=5)], [Dot1Q(vlan=42)]), 1):
        send(ruled, ruled.peer.seal(datagram(b"for us")), *tags)
        net.wait_until(lambda: host.passed("in_verified") == verified + count, f"verified: {tags}")
    send(ruled, ruled.peer.seal(datagram(b"not here")), Dot1Q(vlan=43))
    host.wait_drop("inner_policy", refused)
    assert host.passed("in_verified") == verified + 3


def test_offloads_that_hide_tags_are_told(product, lone):
    """Where it matters: for inbound rules of this NIC, while the offload is on."""
    host = lone.a
    host.run("ethtool", "-K", net.IFNAME, "rxvlan", "on")
    host.ipsecbpf("attach", net.IFNAME)

    def warned(**rule):
        rule = {"name": "tagged", "action": "discard"} | rule
        path = lone.write("policy.json", net.policy([rule], {}, {}))
        messages = host.json("policy", "apply", net.IFNAME, path)["messages"]
        return [m["next"] for m in messages if "VLAN" in m["cause"]]
    assert warned(vlan=42) == [f"ethtool -K {net.IFNAME} rxvlan off"]
    assert warned(vlan=0, direction="in", interface="eth*") != []
    assert warned(vlan=42, direction="out") == warned(vlan=42, interface="wlan*") == warned() == []
    host.run("ethtool", "-K", net.IFNAME, "rxvlan", "off")
    assert warned(vlan=42) == []
