# SPDX-License-Identifier: BSD-2-Clause
"""Protected packets that arrive in fragments, which scapy cuts (RFC 791, 8200, 5722), and fragments
on their way out that policy does not want.
"""
import itertools

import pytest

import topology as net
from esp_peer import IP, IPv6, IPv6ExtHdrFragment, Raw, raw
from wire_matrix import Combination, Matrix, cases, spi_seq

LAYERS = [("esp", "aes128gcm16"), ("esp", "aes128-sha256"), ("ah", "sha256"),
          ("udp", "aes128gcm16")]
PUT_TOGETHER = [Combination(*layer, mode) for layer in LAYERS for mode in ("transport", "tunnel")]
DISCARDED = [Combination(*layer, "tunnel", tag="discard", protection={"fragments": "discard"})
             for layer in LAYERS]
PAYLOAD = bytes(i * 7 & 0xff for i in range(3000))
STEP = 1200
idents = itertools.count(0x1234)


def cut(packet, pieces):
    """Fragments of a packet; pieces: (first octet, one after the last) of what is behind its IP
    header, to its end if None; the third, if any: this is not the last one."""
    upper = raw(packet.payload)
    ident = next(idents)
    made = []
    for start, end, *more in pieces:
        more = more[0] if more else end is not None
        chunk = Raw(upper[start:end])
        if packet.version == 4:
            ip = IP(src=packet.src, dst=packet.dst, proto=packet.proto, id=packet.id,
                    ttl=packet.ttl, flags="MF" if more else 0, frag=start // 8)
            made.append(ip / chunk)
        else:
            made.append(IPv6(src=packet.src, dst=packet.dst, hlim=packet.hlim) /
                        IPv6ExtHdrFragment(nh=packet.nh, id=ident, offset=start // 8,
                                           m=int(more)) / chunk)
    return made


WHOLE = [(0, STEP), (STEP, 2 * STEP), (2 * STEP, None)]


class Fragments(Matrix):
    """Sends what is never completed first of all: when its time is over, the rest is done."""

    def __init__(self, topology):
        super().__init__(topology, PUT_TOGETHER + DISCARDED)
        self.timeouts = self.host.drops("reassembly_timeout")
        self.incomplete = 0
        for combination, family in cases(PUT_TOGETHER)["argvalues"]:
            for fragment in cut(self.seal(combination, family, 9), WHOLE)[:2]:
                self.send(fragment)
                self.incomplete += 1

    def seal(self, combination, family, dport):
        """With an identification of its own, which AH covers."""
        peer, inner, header = combination.inbound[family], \
            combination.datagram(family, dport, PAYLOAD), None
        if family == 4:
            inner.id = next(idents)
            header = IP(src=peer.sa["src"], dst=peer.sa["dst"], id=next(idents))
        return peer.seal(inner, header=header)


@pytest.fixture(scope="module")
def matrix(product):
    with net.Topology(hosts=("a",)) as topology:
        yield Fragments(topology)
    assert topology.residue() == []


each = pytest.mark.parametrize("combination, family", **cases(PUT_TOGETHER))


def arrives(matrix_, combination, family, order, pieces=WHOLE):
    """The datagram, sent in these pieces in that order, arrives once, and nothing is dropped but
    what came twice."""
    before = matrix_.dropped()
    with matrix_.udp(family) as receiver:
        packet = matrix_.seal(combination, family, receiver.getsockname()[1])
        fragments = cut(packet, pieces)
        for number in order:
            matrix_.send(fragments[number])
        assert receiver.recv(4000) == PAYLOAD
    twice = len(order) - len(set(order))
    expected = {**before, "fragment_dup": before.get("fragment_dup", 0) + twice}
    assert matrix_.dropped() == {reason: count for reason, count in expected.items() if count}


@each
def test_in_order(matrix, combination, family):
    passed = matrix.host.passed("in_fragment")
    arrives(matrix, combination, family, (0, 1, 2))
    assert matrix.host.passed("in_fragment") == passed + 3


@each
def test_the_last_comes_before_the_middle(matrix, combination, family):
    """ESP in UDP too: its fragments follow the first."""
    arrives(matrix, combination, family, (0, 2, 1))


@each
def test_twice_the_same_is_once(matrix, combination, family):
    arrives(matrix, combination, family, (0, 1, 1, 2))


@each
def test_many_small_ones(matrix, combination, family):
    pieces = [(at, at + 48) for at in range(0, 2976, 48)] + [(2976, None)]
    arrives(matrix, combination, family, [0, *range(len(pieces) - 1, 0, -1)], pieces)


@each
def test_reversed(matrix, combination, family):
    """ESP and AH: as well as in order. In UDP, only the first shows whose it is (README, Limits):
    what comes before it is clear text to policy."""
    if combination.layer != "udp":
        arrives(matrix, combination, family, (2, 1, 0))
        return
    before = matrix.host.drops("clear_text")
    for fragment in reversed(cut(matrix.seal(combination, family, 9), WHOLE)):
        matrix.send(fragment)
    matrix.host.wait_drop("clear_text", before, 2)
    matrix.incomplete += 1


@each
def test_overlapping_fragments_condemn_their_packet(matrix, combination, family):
    """RFC 5722: whatever they say, and although what they say together would be right."""
    before = matrix.host.drops("reassembly")
    with matrix.udp(family) as receiver:
        port = receiver.getsockname()[1]
        pieces = [(0, STEP), (STEP - 8, 2 * STEP), (2 * STEP, None), (STEP, 2 * STEP)]
        for fragment in cut(matrix.seal(combination, family, port), pieces):
            matrix.send(fragment)
        matrix.host.wait_drop("reassembly", before, 4)
        # Nothing of it comes, and the SA goes on.
        matrix.send(combination.inbound[family].seal(combination.datagram(family, port, b"next")))
        assert receiver.recv(4000) == b"next"
    assert matrix.host.drops("reassembly") == before + 4


@each
def test_ends_that_contradict_condemn_their_packet(matrix, combination, family):
    """Beyond the end that another has told."""
    before = matrix.host.drops("reassembly")
    for fragment in cut(matrix.seal(combination, family, 9),
                        [(0, STEP), (2 * STEP, None), (STEP, 2 * STEP, False)]):
        matrix.send(fragment)
    matrix.host.wait_drop("reassembly", before, 3)


@each
def test_a_changed_fragment_fails_the_integrity_check(matrix, combination, family):
    before = matrix.host.drops("icv")
    fragments = cut(matrix.seal(combination, family, 9), WHOLE)
    fragments[1][Raw].load = bytes([fragments[1][Raw].load[0] ^ 1]) + fragments[1][Raw].load[1:]
    for fragment in fragments:
        matrix.send(fragment)
    matrix.host.wait_drop("icv", before)


@each
def test_fragments_of_strangers_are_clear_text(matrix, combination, family):
    """Between addresses without an SA nothing is kept; ESP in UDP, not even its first fragment."""
    reason = "sa_source" if combination.layer == "udp" else "no_sa_in"
    before, passed = matrix.host.drops(), matrix.host.passed("in_fragment")
    packet = matrix.seal(combination, family, 9)
    packet.src = "fd00:9::254" if packet.version == 6 else "10.9.0.254"
    for fragment in cut(packet, WHOLE):
        matrix.send(fragment)
    other = "policy_discard" if combination.layer == "udp" else reason
    matrix.host.wait_drop(other, before[other], 2 if combination.layer == "udp" else 3)
    assert matrix.host.drops(reason) == before[reason] + (1 if combination.layer == "udp" else 3)
    assert matrix.host.passed("in_fragment") == passed


@pytest.mark.parametrize("combination, family", **cases(DISCARDED))
def test_outbound_fragments_are_dropped_if_policy_says_so(matrix, combination, family):
    before = matrix.host.drops("fragment_policy")
    peer = combination.out[family]
    seq = matrix.sa(peer)["seq"]
    with matrix.udp(family) as sender:
        sender.setsockopt(0, 10, 0)         # IP_MTU_DISCOVER: fragments are welcome
        matrix.capture.clear()
        sender.sendto(PAYLOAD, (combination.address[family], 7000))
        matrix.host.wait_drop("fragment_policy", before, 3)
        sender.sendto(b"whole", (combination.address[family], 7000))
        frame = matrix.wait_protected(peer.spi, seq)
        assert b"whole" in raw(peer.open_exact(frame)[2])
    assert len([f for f in matrix.capture.taken("a") if spi_seq(f)]) == 1
    assert matrix.host.drops("fragment_policy") == before + 3


def test_what_is_never_completed_is_dropped_in_time(matrix):
    """The last test of this file: the fragments came before all others."""
    matrix.host.wait_drop("reassembly_timeout", matrix.timeouts, matrix.incomplete, timeout=20)
    assert matrix.host.drops("reassembly_timeout") == matrix.timeouts + matrix.incomplete
