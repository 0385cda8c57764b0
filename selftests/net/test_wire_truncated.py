# SPDX-License-Identifier: BSD-2-Clause
"""Every kind of packet that the worker or XDP reads, cut off at every octet: the host stays up, and
each is counted under a drop reason.
"""
import struct

import pytest

import topology as net
from esp_peer import ICMP, IP, ICMPv6PacketTooBig, IPv6, IPv6ExtHdrFragment, Raw, raw
from wire_matrix import HOST, Combination, Matrix, cases

LAYERS = [("esp", "aes128gcm16"), ("esp", "aes128-sha256"), ("ah", "sha256"),
          ("udp", "aes128gcm16")]
CUT = [Combination(*layer, mode) for layer, mode in zip(LAYERS, ("tunnel", "transport") * 2)]


# The host's own reports are not to be counted among what it drops.
RULES = [{"name": "multicast", "direction": "out", "action": "bypass",
          "remote": ["224.0.0.0/4", "ff00::/8"]}]


class Truncating(Matrix):
    """Sends many packets, none of which is to come through."""

    def __init__(self, topology):
        super().__init__(topology, CUT, RULES)
        self.ident = 0x4000

    def counted(self):
        """Packets from the wire that came to an end, by where. A single octet in UDP is let by,
        as a keep-alive is."""
        stats = self.host.json("stats", net.IFNAME)
        return {**stats["dropped"], "in_essential": stats["passed"]["in_essential"]}

    def send_all(self, combination, family, packets):
        """Each is counted once; the worker is the same. How the counters have changed."""
        worker, before = self.host.worker_pid(), self.counted()

        def risen():
            now = self.counted()
            return {reason: now[reason] - before[reason] for reason in now
                    if now[reason] != before[reason]}
        for packet in packets:
            self.send(packet)
        net.wait_until(lambda: sum(risen().values()) >= len(packets), "all are counted")
        got = risen()
        assert sum(got.values()) == len(packets), got
        self.answers(combination, family)
        assert self.host.worker_pid() == worker
        return got


@pytest.fixture(scope="module")
def matrix(product):
    with net.Topology(hosts=("a",)) as topology:
        yield Truncating(topology)
    assert topology.residue() == []


def cut_off(packet):
    """The packet as it was sent, without its last octets."""
    whole = raw(packet)
    return [whole[:length] for length in range(1, len(whole))]


def cut_short(packet):
    """The same, but with IP and UDP headers that say so."""
    whole, made = raw(packet), []
    header = 20 if whole[0] >> 4 == 4 else 40
    for length in range(header, len(whole)):
        octets = bytearray(whole[:length])
        if octets[9 if header == 20 else 6] == 17 and length >= header + 8:
            struct.pack_into("!H", octets, header + 4, length - header)
        if header == 20:
            struct.pack_into("!H", octets, 2, length)
            made.append(raw(without_checksum(bytes(octets))))
        else:
            struct.pack_into("!H", octets, 4, length - header)
            made.append(bytes(octets))
    return made


def without_checksum(octets):
    packet = IP(octets[:20])
    del packet.chksum
    return packet / Raw(octets[20:])


def fragment(packet, ident, first):
    """The first half or the second of a packet, as a fragment."""
    upper = raw(packet.payload)
    middle = len(upper) // 2 // 8 * 8
    chunk, at = (upper[:middle], 0) if first else (upper[middle:], middle // 8)
    if packet.version == 4:
        return IP(src=packet.src, dst=packet.dst, proto=packet.proto, id=ident,
                  flags="MF" if first else 0, frag=at) / Raw(chunk)
    return IPv6(src=packet.src, dst=packet.dst) / \
        IPv6ExtHdrFragment(nh=packet.nh, id=ident, offset=at, m=int(first)) / Raw(chunk)


each = pytest.mark.parametrize("combination, family", **cases(CUT))
each_cut = pytest.mark.parametrize("cut", (cut_off, cut_short))


@each
@each_cut
def test_a_packet(matrix, combination, family, cut):
    packet = combination.inbound[family].seal(combination.echo(family))
    got = matrix.send_all(combination, family, cut(packet))
    wanted = {"malformed"} if cut is cut_off else {"malformed", "icv"}
    if combination.layer == "udp":
        # Without an SPI it is like any UDP; of one octet, a keep-alive.
        assert got.pop("in_essential", 0) == (1 if cut is cut_short else 0)
        wanted |= {"clear_text"}
    assert set(got) <= wanted, got


@each
@each_cut
@pytest.mark.parametrize("first", (True, False), ids=("first", "last"))
def test_a_fragment(matrix, combination, family, cut, first):
    packet = combination.inbound[family].seal(combination.echo(family, bytes(200)))
    matrix.ident += 1
    matrix.send_all(combination, family, cut(fragment(packet, matrix.ident, first)))


@each
@each_cut
def test_a_packet_too_big_message(matrix, combination, family, cut):
    """Of a packet that was never sent: where what is cut off is zero, the checksum still holds."""
    out = combination.out[family]
    quoted = raw(out.seal(IP(raw(combination.echo(4))) if family == 4 else combination.echo(6),
                          seq=5_000_000))
    if family == 4:
        message = IP(src="10.9.0.250", dst=HOST[4]) / ICMP(type=3, code=4, nexthopmtu=1300) / \
            Raw(quoted)
    else:
        message = IPv6(src="fd00:9::250", dst=HOST[6]) / ICMPv6PacketTooBig(mtu=1300) / Raw(quoted)
    got = matrix.send_all(combination, family, cut(message))
    assert set(got) <= {"malformed", "policy_discard", "ptb_refused"}, got
    assert matrix.sa(out)["path_mtu"] in (0, None)
