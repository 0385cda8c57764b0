# SPDX-License-Identifier: BSD-2-Clause
"""ESP byte for byte against scapy: every suite, both modes and families, ESN on and off.

One host, attached once, with one peer per combination of suite, mode and ESN; the test is all the
peers. Each direction is proven on packets, not on connectivity.
"""
import itertools
import socket
import struct

import pytest

import topology as net
from esp_peer import ICMP, IP, UDP, Ether, ICMPv6EchoRequest, IPv6, Peer, Raw, \
        algorithms_of, assert_checksums, ip_of, raw

PEER_MAC = "02:00:00:00:00:02"
HOST = {4: "10.9.0.1", 6: "fd00:9::1"}
MODES = ("transport", "tunnel")
# The usual suites in everything, the others that scapy knows in either mode, with ESN in one.
OTHERS = [suite for suite in net.SUITES
          if suite not in net.USUAL_SUITES and algorithms_of(suite)[0]]
COMBINATIONS = list(itertools.product(net.USUAL_SUITES, MODES, (True, False))) + \
        [(suite, mode, bool((number + at) % 2))
         for number, suite in enumerate(OTHERS) for at, mode in enumerate(MODES)]
# All padding lengths of all block sizes, the empty datagram, and near the inner MTU.
SIZES = list(range(0, 17)) + [63, 64, 512, 1340]


class Combination:
    """One peer and its SAs in both directions and families."""

    def __init__(self, number, suite, mode, esn):
        self.name = f"{suite}-{mode}-{'esn' if esn else 'noesn'}"
        self.suite, self.mode, self.esn = suite, mode, esn
        self.address = {4: f"10.9.0.{number + 10}", 6: f"fd00:9::{number + 16:x}"}
        self.sas = {}           # (family, "out" or "in") -> SA of the file
        for family in (4, 6):
            ends = (HOST[family], self.address[family])
            for direction, (src, dst) in (("out", ends), ("in", ends[::-1])):
                spi = 0x10000 + number * 16 + family * 2 + (direction == "in")
                self.sas[family, direction] = net.new_sa(
                        src, dst, spi, suite, protection=self.name, mode=mode, esn=esn)
        self.inbound = {family: Peer(self.sas[family, "in"]) for family in (4, 6)}


class Matrix:
    """The attached host, its wire and all combinations."""

    def __init__(self, topology):
        self.topology = topology
        self.host = topology.a
        self.all = {(suite, mode, esn): Combination(number, suite, mode, esn)
                    for number, (suite, mode, esn) in enumerate(COMBINATIONS)}
        for combination, family in itertools.product(self.all.values(), (4, 6)):
            self.host.neighbour(combination.address[family], PEER_MAC)
        self._attach()
        self.capture = topology.capture()
        self.port = topology.port(self.host)

    def _attach(self):
        rules = [{"name": c.name, "action": "protect", "peer": c.name, "protection": c.name,
                  "remote": list(c.address.values())} for c in self.all.values()]
        policy = net.policy(rules, {c.name: list(c.address.values()) for c in self.all.values()},
                            {c.name: net.protection_of(c.suite, c.mode)
                             for c in self.all.values()})
        sas = net.sa_file(*[sa for c in self.all.values() for sa in c.sas.values()])
        write = self.topology.write
        self.host.ipsecbpf("attach", net.IFNAME, "--policy", write("policy.json", policy),
                           "--sa", write("sa.json", sas, mode=0o600), "--fresh")

    def udp(self, family):
        """A UDP socket of the host, bound to its address."""
        made = self.host.socket(socket.AF_INET6 if family == 6 else socket.AF_INET,
                                socket.SOCK_DGRAM)
        made.bind((HOST[family], 0))
        made.settimeout(5)
        return made

    def send(self, packet):
        """Onto the wire, towards the host."""
        self.port.send(raw(Ether(src=PEER_MAC, dst=self.host.mac) / packet))

    def wait_esp(self, spi, seq_after=0):
        """The next ESP frame of the host with that SPI."""
        def wanted(frame):
            _, at = net.ethertype(frame)
            at += 40 if frame[at] >> 4 == 6 else 20
            return net.kind(frame) == "esp" and len(frame) >= at + 8 and \
                    struct.unpack_from("!LL", frame, at) >= (spi, seq_after + 1) and \
                    struct.unpack_from("!L", frame, at)[0] == spi
        return self.capture.wait(wanted, f"ESP with SPI {spi:#x} after {seq_after}")


@pytest.fixture(scope="module")
def matrix(product):
    with net.Topology(hosts=("a",)) as topology:
        yield Matrix(topology)
    assert topology.residue() == []


each = pytest.mark.parametrize("family", (4, 6), ids=("ipv4", "ipv6"))
each_combination = pytest.mark.parametrize(
        "key", COMBINATIONS, ids=[f"{s}-{m}-{'esn' if e else 'noesn'}" for s, m, e in COMBINATIONS])


def expected_length(combination, inner_length):
    """Octets of ESP for that many octets behind the outer header, by RFC 4303 2.4."""
    peer = Peer(combination.sas[4, "out"])
    align = max(4, peer.cipher.block_size)
    padded = (inner_length + 2 + align - 1) // align * align
    return 8 + peer.cipher.iv_size + padded + peer.icv_size


def check_outer(matrix_, frame, outer, family, combination):
    """Addresses, lengths and header checksum of what the world sees."""
    ether = Ether(frame)
    assert (ether.src, ether.dst) == (matrix_.host.mac, PEER_MAC)
    assert (outer.src, outer.dst) == (HOST[family], combination.address[family])
    assert len(frame) == 14 + len(raw(outer)), "octets behind the IP packet"
    assert (outer.ttl if family == 4 else outer.hlim) >= 60
    assert_checksums(outer)


@each
@each_combination
def test_our_esp_is_what_scapy_makes(matrix, key, family):
    combination = matrix.all[key]
    peer = Peer(combination.sas[family, "out"])
    matrix.capture.clear()
    seen = 0
    with matrix.udp(family) as sender:
        port = sender.getsockname()[1]
        for size in SIZES:
            payload = bytes((size + i) & 0xff for i in range(size))
            sender.sendto(payload, (combination.address[family], 7000))
            frame = matrix.wait_esp(peer.spi, seen)
            outer, seq, inner = peer.open_exact(frame)
            assert seq > seen if not seen else seq == seen + 1
            seen = seq
            check_outer(matrix, frame, outer, family, combination)
            check_inner(inner, family, combination, (port, 7000, payload))
            header = 40 if family == 6 else 20
            ahead = header if combination.mode == "tunnel" else 0
            assert len(raw(outer)) - header == \
                    expected_length(combination, ahead + 8 + size)
    assert {net.kind(f) for f in matrix.capture.taken()} <= {"esp", "arp", "nd"}


def check_inner(inner, family, combination, flow):
    sport, dport, payload = flow
    assert inner.version == family
    assert (inner.src, inner.dst) == (HOST[family], combination.address[family])
    assert (inner[UDP].sport, inner[UDP].dport) == (sport, dport)
    assert raw(inner[UDP])[8:] == payload
    assert_checksums(inner)


@each
@each_combination
def test_esp_of_scapy_is_accepted(matrix, key, family):
    combination = matrix.all[key]
    peer = combination.inbound[family]
    before = matrix.host.drops("icv"), matrix.host.drops("replay_old")
    with matrix.udp(family) as receiver:
        port = receiver.getsockname()[1]
        for size in SIZES:
            payload = bytes((7 * size + i) & 0xff for i in range(size))
            inner = (IPv6 if family == 6 else IP)(src=combination.address[family],
                                                  dst=HOST[family])
            matrix.send(peer.seal(inner / UDP(sport=7000, dport=port) / Raw(payload)))
            data, source = receiver.recvfrom(2048)
            assert data == payload
            assert source[:2] == (combination.address[family], 7000)
    assert (matrix.host.drops("icv"), matrix.host.drops("replay_old")) == before


@each
@each_combination
def test_the_hosts_kernel_answers_a_ping(matrix, key, family):
    """In and out again in one exchange, with the kernel's own ICMP at the end."""
    combination = matrix.all[key]
    echo = ICMPv6EchoRequest(id=77, seq=1, data=b"ping of scapy") if family == 6 else \
            ICMP(id=77, seq=1) / Raw(b"ping of scapy")
    inner = (IPv6 if family == 6 else IP)(src=combination.address[family], dst=HOST[family])
    matrix.capture.clear()
    out = Peer(combination.sas[family, "out"])
    matrix.send(combination.inbound[family].seal(inner / echo))
    _, _, reply = out.open_exact(matrix.wait_esp(out.spi))
    assert (reply.src, reply.dst) == (HOST[family], combination.address[family])
    assert b"ping of scapy" in raw(reply)
    kind = raw(reply)[40 if family == 6 else 20]
    assert kind == (129 if family == 6 else 0), "not an echo reply"
    assert_checksums(reply)


def test_esn_is_inferred_across_2_to_the_32(matrix):
    """RFC 4303 2.2.1: only the low half is sent, and the receiver finds the high half."""
    for suite in ("aes128gcm16", "chacha20poly1305", "aes128-sha256", "null-sha256"):
        combination = matrix.all[suite, "transport", True]
        sa = combination.sas[4, "in"]
        steps = [(0, 0x70000000), (0, 0xfffffff0), (0, 0xffffffff), (1, 0), (1, 1), (0, 0xfffffffe)]
        with matrix.udp(4) as receiver:
            for number, (high, low) in enumerate(steps):
                payload = b"step %d" % number
                inner = IP(src=combination.address[4], dst=HOST[4]) / \
                        UDP(sport=7000, dport=receiver.getsockname()[1]) / Raw(payload)
                packet = Peer(sa, high=high).seal(inner, seq=low or None) if low else \
                        seal_zero(sa, high, inner)
                matrix.send(packet)
                assert receiver.recv(2048) == payload, f"{suite}: {high:#x}:{low:#x}"
        # Later tests of this combination go on from here.
        combination.inbound[4] = Peer(sa, high=1)
        combination.inbound[4].seq = 100


def seal_zero(sa, high, inner):
    """scapy takes a sequence number of 0 for none given."""
    peer = Peer(sa, high=high)
    peer.seq = 0
    association = peer._association()
    association.seq_num = 0
    return association.encrypt(inner.__class__(raw(inner)))


def test_packets_out_of_order_within_the_window(matrix):
    combination = matrix.all["aes256gcm16", "tunnel", True]
    peer = combination.inbound[6]
    first = peer.seq
    peer.seq += 64
    with matrix.udp(6) as receiver:
        for seq in reversed(range(first, first + 64)):
            payload = b"%d" % seq
            inner = IPv6(src=combination.address[6], dst=HOST[6]) / \
                    UDP(sport=7000, dport=receiver.getsockname()[1]) / Raw(payload)
            matrix.send(peer.seal(inner, seq=seq))
            assert receiver.recv(2048) == payload


def test_iv_of_cbc_is_unpredictable(matrix):
    """RFC 3602 3: an IV must not follow from the one before."""
    combination = matrix.all["aes128-sha256", "transport", True]
    spi = combination.sas[4, "out"]["spi"]
    matrix.capture.clear()
    with matrix.udp(4) as sender:
        for _ in range(32):
            sender.sendto(b"same", (combination.address[4], 7000))
    net.wait_until(lambda: [net.kind(f) for f in matrix.capture.taken("a")].count("esp") >= 32,
                   "32 ESP packets")
    ivs = [f[42:58] for f in matrix.capture.taken("a")
           if net.kind(f) == "esp" and struct.unpack_from("!L", f, 34)[0] == spi]
    assert len(set(ivs)) == len(ivs) >= 32
    differing = [bin(int.from_bytes(x, "big") ^ int.from_bytes(y, "big")).count("1")
                 for x, y in zip(ivs, ivs[1:])]
    assert min(differing) > 20, "two IVs in a row differ in few bits"


def test_ip_of_cuts_link_padding():
    frame = raw(Ether(src=PEER_MAC, dst=PEER_MAC) / IP() / UDP()) + b"\0" * 18
    assert len(raw(ip_of(frame))) == 28
