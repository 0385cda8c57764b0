# SPDX-License-Identifier: BSD-2-Clause
"""ESP, AH and ESP in UDP byte for byte against scapy: every suite, both modes, IPv4, IPv6 and each
in the other, ESN on and off, in both directions. Proven on packets, not on connectivity.
"""
import pytest

import topology as net
from esp_peer import IP, UDP, Ether, Peer, Raw, assert_checksums, ip_of, raw
from wire_matrix import HOST, PEER_MAC, Matrix, cases, everything, spi_seq

# All padding lengths of all block sizes, the empty datagram, and near the inner MTU.
SIZES = list(range(0, 17)) + [63, 64, 512, 1340]
COMBINATIONS = everything()


@pytest.fixture(scope="module")
def matrix(product):
    with net.Topology(hosts=("a",)) as topology:
        yield Matrix(topology, COMBINATIONS)
    assert topology.residue() == []


each = pytest.mark.parametrize("combination, family", **cases(COMBINATIONS))


def expected_length(combination, family, inner_length):
    """Octets behind the outer header for that many of a packet's, by RFC 4303 2.4, 4302 2.2."""
    peer = combination.out[family]
    if combination.layer == "ah":
        align = 8 if peer.v6 else 4
        return (12 + peer.icv_size + align - 1) // align * align + inner_length
    align = max(4, peer.cipher.block_size)
    padded = (inner_length + 2 + align - 1) // align * align
    return (8 if peer.udp else 0) + 8 + peer.cipher.iv_size + padded + peer.icv_size


def check_outer(matrix_, frame, outer, combination, family):
    """Addresses, lengths and header checksum of what the world sees."""
    ether = Ether(frame)
    around = combination.outer or family
    assert (ether.src, ether.dst) == (matrix_.host.mac, PEER_MAC)
    assert outer.version == around
    assert (outer.src, outer.dst) == (HOST[around], combination.address[around])
    assert len(frame) == 14 + len(raw(outer)), "octets behind the IP packet"
    assert (outer.ttl if around == 4 else outer.hlim) >= 60
    if combination.layer != "udp":
        assert_checksums(outer)
    elif around == 4:
        assert outer[UDP].chksum == 0, "RFC 3948 2.1"


def check_inner(inner, combination, family, flow):
    sport, dport, payload = flow
    assert inner.version == family
    assert (inner.src, inner.dst) == (HOST[family], combination.address[family])
    assert (inner[UDP].sport, inner[UDP].dport) == (sport, dport)
    assert raw(inner[UDP])[8:] == payload
    assert_checksums(inner)


@each
def test_ours_is_what_scapy_makes(matrix, combination, family):
    peer = combination.out[family]
    matrix.capture.clear()
    seen = 0
    with matrix.udp(family) as sender:
        port = sender.getsockname()[1]
        for size in SIZES:
            payload = bytes((size + i) & 0xff for i in range(size))
            sender.sendto(payload, (combination.address[family], 7000))
            frame = matrix.wait_protected(peer.spi, seen)
            outer, seq, inner = peer.open_exact(frame)
            assert seq > seen if not seen else seq == seen + 1
            seen = seq
            check_outer(matrix, frame, outer, combination, family)
            check_inner(inner, combination, family, (port, 7000, payload))
            ahead = (40 if family == 6 else 20) if combination.mode == "tunnel" else 0
            assert len(raw(outer)) - (40 if outer.version == 6 else 20) == \
                    expected_length(combination, family, ahead + 8 + size)
    assert {(spi_seq(f) or net.kind(f))[0] if spi_seq(f) else net.kind(f)
            for f in matrix.capture.taken()} <= {combination.layer, "arp", "nd"}


@each
def test_what_scapy_makes_is_accepted(matrix, combination, family):
    peer = combination.inbound[family]
    before = matrix.host.drops("icv"), matrix.host.drops("replay_old")
    with matrix.udp(family) as receiver:
        port = receiver.getsockname()[1]
        for size in SIZES:
            payload = bytes((7 * size + i) & 0xff for i in range(size))
            matrix.send(peer.seal(combination.datagram(family, port, payload)))
            data, source = receiver.recvfrom(2048)
            assert data == payload
            assert source[:2] == (combination.address[family], 7000)
    assert (matrix.host.drops("icv"), matrix.host.drops("replay_old")) == before


@each
def test_the_hosts_kernel_answers_a_ping(matrix, combination, family):
    """In and out again in one exchange, with the kernel's own ICMP at the end."""
    reply = matrix.answers(combination, family)
    assert (reply.src, reply.dst) == (HOST[family], combination.address[family])
    assert b"ping of scapy" in raw(reply)
    kind = raw(reply)[40 if family == 6 else 20]
    assert kind == (129 if family == 6 else 0), "not an echo reply"
    assert_checksums(reply)


@each
def test_one_wrong_bit_is_refused(matrix, combination, family):
    """In the last octet, which is of the ICV or, with AH, of the payload."""
    before = matrix.host.drops("icv")
    packet = bytearray(raw(combination.inbound[family].seal(combination.echo(family))))
    packet[-1] ^= 0x01
    matrix.capture.clear()
    matrix.send(packet)
    matrix.host.wait_drop("icv", before)
    assert [f.hex() for f in matrix.capture.taken("a") if spi_seq(f)] == []


@pytest.mark.parametrize("key", [
    ("esp", "aes128gcm16"), ("esp", "chacha20poly1305"), ("esp", "aes128-sha256"),
    ("esp", "null-sha256"), ("ah", "sha256"), ("udp", "aes128gcm16")], ids="-".join)
def test_esn_is_inferred_across_2_to_the_32(matrix, key):
    """RFC 4303 2.2.1, 4302 2.5.1: only the low half is sent, the receiver finds the high half."""
    combination = matrix.find(*key, "transport", True)
    sa = combination.sas[4, "in"]
    steps = [(0, 0x70000000), (0, 0xfffffff0), (0, 0xffffffff), (1, 0), (1, 1), (0, 0xfffffffe)]
    with matrix.udp(4) as receiver:
        for number, (high, low) in enumerate(steps):
            payload = b"step %d" % number
            inner = combination.datagram(4, receiver.getsockname()[1], payload)
            matrix.send(Peer(sa, high=high).seal(inner, seq=low))
            assert receiver.recv(2048) == payload, f"{high:#x}:{low:#x}"
    # Later tests of this combination go on from here.
    combination.inbound[4] = Peer(sa, high=1)
    combination.inbound[4].seq = 100


@pytest.mark.parametrize("key", [("esp", "aes256gcm16"), ("ah", "sha256"), ("udp", "aes128gcm16")],
                         ids="-".join)
def test_packets_out_of_order_within_the_window(matrix, key):
    combination = matrix.find(*key, "tunnel", True)
    peer = combination.inbound[6]
    first = peer.seq
    peer.seq += 64
    with matrix.udp(6) as receiver:
        for seq in reversed(range(first, first + 64)):
            payload = b"%d" % seq
            inner = combination.datagram(6, receiver.getsockname()[1], payload)
            matrix.send(peer.seal(inner, seq=seq))
            assert receiver.recv(2048) == payload


def test_iv_of_cbc_is_unpredictable(matrix):
    """RFC 3602 3: an IV must not follow from the one before."""
    combination = matrix.find("esp", "aes128-sha256", "transport", True)
    spi = combination.out[4].spi
    matrix.capture.clear()
    with matrix.udp(4) as sender:
        for _ in range(32):
            sender.sendto(b"same", (combination.address[4], 7000))
    net.wait_until(lambda: [net.kind(f) for f in matrix.capture.taken("a")].count("esp") >= 32,
                   "32 ESP packets")
    ivs = [f[42:58] for f in matrix.capture.taken("a") if (spi_seq(f) or (0, 0))[1] == spi]
    assert len(set(ivs)) == len(ivs) >= 32
    differing = [bin(int.from_bytes(x, "big") ^ int.from_bytes(y, "big")).count("1")
                 for x, y in zip(ivs, ivs[1:])]
    assert min(differing) > 20, "two IVs in a row differ in few bits"


def test_ip_of_cuts_link_padding():
    frame = raw(Ether(src=PEER_MAC, dst=PEER_MAC) / IP() / UDP()) + b"\0" * 18
    assert len(raw(ip_of(frame))) == 28
