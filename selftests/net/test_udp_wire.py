# SPDX-License-Identifier: BSD-2-Clause
"""What ESP in UDP has besides its packets (RFC 3948): keep-alives, IKE on the same port, and peers
that turn up elsewhere, as behind a NAT that forgot them. scapy is the peer.
"""
import os
import signal
import socket

import pytest

import topology as net
from esp_peer import IP, UDP, IPv6, Peer, Raw, ip_of, raw
from wire_matrix import HOST, PORTS, Combination, Matrix, cases, spi_seq

KEPT = Combination("udp", "aes128gcm16", "transport", tag="kept", encap={**PORTS, "keepalive": 1})
# Two seconds: while it has traffic, a gap on a busy machine is no silence.
BUSY = Combination("udp", "aes128gcm16", "tunnel", tag="busy", encap={**PORTS, "keepalive": 2})
PLAIN = Combination("udp", "aes128gcm16", "transport", tag="plain", encap={**PORTS, "keepalive": 0})
FOLLOWED = [Combination("udp", suite, "tunnel", tag=tag, encap={**PORTS, "follow_peer": True})
            for suite, tag in (("chacha20poly1305", "moves"), ("aes128-sha256", "moves"),
                               ("aes128gcm16", "forged"), ("aes128gcm16", "killed"))]
ELSEWHERE = {4: "10.9.0.200", 6: "fd00:9::200"}
each_family = pytest.mark.parametrize("family", (4, 6), ids=("ipv4", "ipv6"))


@pytest.fixture(scope="module")
def matrix(product):
    with net.Topology(hosts=("a",)) as topology:
        yield Matrix(topology, [KEPT, BUSY, PLAIN, *FOLLOWED])
    assert topology.residue() == []


def followed(tag):
    return pytest.mark.parametrize("combination, family",
                                   **cases(c for c in FOLLOWED if c.tag == tag))


# ---- keep-alives --------------------------------------------------------------------------------

def keepalive_of(combination, family):
    """The packet as scapy makes it."""
    ip = IPv6(hlim=64) if family == 6 else IP(id=0, flags=0, ttl=64)
    ip.src, ip.dst = HOST[family], combination.address[family]
    return raw(ip / UDP(sport=4500, dport=4500, chksum=None if family == 6 else 0) / Raw(b"\xff"))


def keepalives(matrix_, combination, family):
    wanted = keepalive_of(combination, family)
    return sum(frame[14:] == wanted for frame in matrix_.capture.taken("a"))


def octets_of_udp(frame):
    """Octets behind a UDP header from the host; None if it is none."""
    packet = ip_of(frame)
    return len(raw(packet[UDP].payload)) if packet is not None and packet.haslayer(UDP) else None


def test_silence_is_filled_with_keepalives_and_traffic_is_not(matrix):
    """RFC 3948 2.3, octet for octet. None where there is traffic, nor where none are wanted."""
    for combination in (KEPT, PLAIN):
        for family in (4, 6):
            matrix.answers(combination, family)
    matrix.capture.clear()
    seq, rounds = {4: 0, 6: 0}, 0
    while min(keepalives(matrix, KEPT, 4), keepalives(matrix, KEPT, 6)) < 3:
        for family in (4, 6):
            matrix.send(BUSY.inbound[family].seal(BUSY.echo(family)))
            frame = matrix.wait_protected(BUSY.out[family].spi, seq[family])
            seq[family] = spi_seq(frame)[2]
        rounds += 1
        assert rounds < 20_000, "no keep-alives"
    # Nothing of one octet went anywhere else.
    ones = {ip_of(f).dst for f in matrix.capture.taken("a") if octets_of_udp(f) == 1}
    assert ones == set(KEPT.address.values())


@each_family
def test_the_peers_keepalive_goes_no_further(matrix, family):
    """It is let by as IKE's is, and does nothing."""
    before = matrix.host.passed("in_essential"), matrix.dropped()
    ip = (IPv6 if family == 6 else IP)(src=PLAIN.address[family], dst=HOST[family])
    with matrix.udp(family) as receiver:
        matrix.send(ip / UDP(sport=4500, dport=4500) / Raw(b"\xff"))
        matrix.send(PLAIN.inbound[family].seal(
            PLAIN.datagram(family, receiver.getsockname()[1], b"behind it")))
        assert receiver.recv(100) == b"behind it"
    assert (matrix.host.passed("in_essential") - before[0], matrix.dropped()) == (1, before[1])


# ---- IKE ----------------------------------------------------------------------------------------

@each_family
def test_ike_passes_by_on_the_same_port(matrix, family):
    """RFC 3948 2.2: four zero octets where an SPI would be. Anything else is not let by."""
    ip = (IPv6 if family == 6 else IP)(src=PLAIN.address[family], dst=HOST[family])
    with matrix.host.socket(socket.AF_INET6 if family == 6 else socket.AF_INET,
                            socket.SOCK_DGRAM) as daemon:
        daemon.bind((HOST[family], 4500))
        daemon.settimeout(5)
        before = matrix.host.drops("clear_text")
        # Neither an SPI of ours nor IKE.
        matrix.send(ip / UDP(sport=4500, dport=4500) / Raw(b"\0\0\1\1" + bytes(20)))
        matrix.host.wait_drop("clear_text", before)
        matrix.send(ip / UDP(sport=4500, dport=4500) / Raw(bytes(4) + b"an IKE message"))
        assert daemon.recv(100) == bytes(4) + b"an IKE message"
        matrix.capture.clear()
        daemon.sendto(bytes(4) + b"our IKE message", (PLAIN.address[family], 4500))
        matrix.capture.wait(lambda f: f.endswith(bytes(4) + b"our IKE message"), "IKE in the clear")
        # What is not IKE leaves as ESP like all else.
        seq = matrix.sa(PLAIN.out[family])["seq"]
        daemon.sendto(b"\1\1\1\1 not IKE", (PLAIN.address[family], 4500))
        _, _, inner = PLAIN.out[family].open_exact(
                matrix.wait_protected(PLAIN.out[family].spi, seq))
        assert inner[UDP].sport == 4500 and raw(inner).endswith(b"\1\1\1\1 not IKE")
        assert not any(f.endswith(b"\1\1\1\1 not IKE") for f in matrix.capture.taken("a"))


# ---- moving peers -------------------------------------------------------------------------------

class Mover:
    """A peer that may be anywhere."""

    def __init__(self, matrix_, combination, family):
        self.matrix, self.combination, self.family = matrix_, combination, family
        self.inbound, self.out = combination.inbound[family], combination.out[family]
        self.at(combination.address[family], 4500)

    def at(self, address, port):
        self.address, self.port = address, port
        return self

    def seal(self, inner, seq=None):
        """The packet as it arrives from there."""
        sealed = Peer({**self.inbound.sa, "src": self.address,
                       "encap": {"sport": self.port, "dport": 4500}})
        if seq is None:
            seq = self.inbound.seq
            self.inbound.seq += 1
        return sealed.seal(inner, seq=seq)

    def send_ping(self, data, seq=None):
        packet = self.seal(self.combination.echo(self.family, data), seq)
        self.matrix.send(packet)
        return packet

    def expect(self, data):
        """The host's answer comes to where the peer is now, and says `data`."""
        there = Peer({**self.out.sa, "dst": self.address,
                      "encap": {"sport": 4500, "dport": self.port}})
        frame = self.matrix.capture.wait(self._to_here,
                                         f"a packet to {self.address} port {self.port}")
        _, _, inner = there.open_exact(frame)
        assert data in raw(inner)

    def _to_here(self, frame):
        packet = ip_of(frame)
        return packet is not None and packet.haslayer(UDP) and packet.dst == self.address and \
            packet[UDP].dport == self.port and octets_of_udp(frame) > 1

    def exchange(self, data):
        self.matrix.capture.clear()
        self.send_ping(data)
        self.expect(data)

    def listed(self):
        return self.matrix.sa(self.out)["moved_to"]


@followed("moves")
def test_our_traffic_follows_the_peer(matrix, combination, family):
    """First to another port, then to another address, then home."""
    mover = Mover(matrix, combination, family)
    home = combination.address[family]
    mover.exchange(b"at home")
    assert mover.listed() is None
    for address, port in ((home, 61000), (ELSEWHERE[family], 61000), (ELSEWHERE[family], 4500),
                          (home, 4500)):
        mover.at(address, port).exchange(b"from %s %d" % (address.encode(), port))
        assert mover.listed() == {"address": address, "port": port}
        assert matrix.sa(mover.inbound)["moved_to"] == {"address": address, "port": port}
    # What is configured stays what is listed as the SA.
    assert (matrix.sa(mover.out)["dst"], matrix.sa(mover.out)["encap"]["dport"]) == (home, 4500)


@followed("forged")
def test_only_new_authentic_packets_move_the_peer(matrix, combination, family):
    mover = Mover(matrix, combination, family)
    home = combination.address[family]
    mover.inbound.seq += 10
    old = mover.inbound.seq - 5
    mover.exchange(b"at home")
    matrix.capture.clear()
    recorded = mover.send_ping(b"recorded")
    mover.expect(b"recorded")
    mover.at(ELSEWHERE[family], 62000)

    before = matrix.host.drops("icv")
    forged = bytearray(raw(mover.seal(combination.echo(family, b"forged"))))
    forged[-1] ^= 1
    matrix.send(forged)
    matrix.host.wait_drop("icv", before)

    before = matrix.host.drops("replay_dup")
    again = recorded.__class__(raw(recorded))
    again.src, again[UDP].sport = mover.address, mover.port
    del again[UDP].chksum
    matrix.send(again)
    matrix.host.wait_drop("replay_dup", before)

    # Late, not heard before: it is taken, but it is not where the peer is now.
    matrix.capture.clear()
    mover.send_ping(b"late", seq=old)
    mover.at(home, 4500).expect(b"late")
    assert mover.listed() is None
    assert not any(ip_of(f).dst == ELSEWHERE[family] for f in matrix.capture.taken("a")
                   if ip_of(f) is not None)


@followed("killed")
def test_where_the_peer_is_outlives_the_worker(matrix, combination, family):
    mover = Mover(matrix, combination, family)
    mover.at(ELSEWHERE[family], 63000).exchange(b"moved")
    pid = matrix.host.worker_pid()
    os.kill(pid, signal.SIGKILL)
    net.wait_until(lambda: matrix.host.worker_pid() not in (0, pid), "another worker")
    matrix.capture.clear()
    with matrix.udp(family) as sender:
        sender.sendto(b"to where it was last heard", (combination.address[family], 7000))
        mover.expect(b"to where it was last heard")
    assert mover.listed() == {"address": ELSEWHERE[family], "port": 63000}
    mover.exchange(b"and in again")
