# SPDX-License-Identifier: BSD-2-Clause
"""One attached host whose peers scapy plays, one peer per combination of layer, suite, mode, ESN.

A module attaches once, with all of its combinations; a test is one of them.
"""
import itertools
import socket
import struct

import topology as net
from esp_peer import ICMP, IP, UDP, Ether, ICMPv6EchoRequest, IPv6, Peer, Raw, algorithms_of, raw

PEER_MAC = "02:00:00:00:00:02"
HOST = {4: "10.9.0.1", 6: "fd00:9::1"}
MODES = ("transport", "tunnel")
PORTS = {"sport": 4500, "dport": 4500}
# The usual suites in everything, the others that scapy knows in either mode, with ESN in one.
OTHERS = [suite for suite in net.SUITES
          if suite not in net.USUAL_SUITES and algorithms_of(suite)[0]]
AH_SUITES = [mac for mac in net.MACS if mac != "aesxcbc"]       # which scapy does not have


class Combination:
    """What one peer's SAs are. outer: the family of the headers around both families, in tunnel
    mode; otherwise each family of traffic has SAs of its own family. tag: tells it from others that
    are the same otherwise. protection: more of that. more: of each SA."""

    def __init__(self, layer, suite, mode, esn=True, outer=None, tag="", protection=None, **more):
        # pylint: disable=too-many-arguments
        self.layer, self.suite, self.mode, self.esn, self.outer = layer, suite, mode, esn, outer
        self.protection = protection or {}
        self.more = {"mode": mode, "esn": esn, **more}
        if layer == "ah":
            self.more["proto"] = "ah"
        elif layer == "udp":
            self.more.setdefault("encap", PORTS)
        self.name = f"{layer}-{suite}-{mode}-{'esn' if esn else 'noesn'}"
        # What is between IPv4 and IPv6 is as before.
        self.families = (4, 6) if outer is None else (10 - outer,)
        self.tag = tag
        if tag:
            self.name += f"-{tag}"
        if outer:
            self.name += f"-in-ipv{outer}"

    def place(self, number):
        """Addresses, SPIs and keys, which differ by the number."""
        self.address = {4: f"10.9.0.{number + 10}", 6: f"fd00:9::{number + 16:x}"}
        self.sas = {}           # (family of the traffic, "out" or "in") -> SA of the file
        for family, (at, direction) in itertools.product(self.families,
                                                         enumerate(("out", "in"))):
            of = self.outer or family
            ends = (HOST[of], self.address[of])[::1 if direction == "out" else -1]
            spi = 0x10000 + number * 16 + family * 2 + at
            self.sas[family, direction] = net.new_sa(*ends, spi, self.suite,
                                                     protection=self.name, **self.more)
        self.out = {family: Peer(self.sas[family, "out"]) for family in self.families}
        self.inbound = {family: Peer(self.sas[family, "in"]) for family in self.families}
        return self

    def packet(self, family, upper):
        """From the peer to the host, before protection."""
        return (IPv6 if family == 6 else IP)(src=self.address[family], dst=HOST[family]) / upper

    def echo(self, family, data=b"ping of scapy"):
        return self.packet(family, ICMPv6EchoRequest(id=77, seq=1, data=data) if family == 6 else
                           ICMP(id=77, seq=1) / Raw(data))

    def datagram(self, family, dport, payload):
        return self.packet(family, UDP(sport=7000, dport=dport) / Raw(payload))


def everything():
    """All layers, suites, modes, with and without ESN, as far as scapy knows them."""
    return [Combination("esp", *key) for key in
            itertools.product(net.USUAL_SUITES, MODES, (True, False))] + \
        [Combination("esp", suite, mode, bool((number + at) % 2))
         for number, suite in enumerate(OTHERS) for at, mode in enumerate(MODES)] + \
        [Combination("ah", *key) for key in itertools.product(AH_SUITES, MODES, (True, False))] + \
        [Combination("udp", *key) for key in itertools.product(
            ("aes128gcm16", "aes128-sha256", "null-sha256"), MODES, (True, False))] + \
        [Combination(layer, suite, "tunnel", outer=outer) for layer, suite, outer in
         [(*key, outer) for key in (("esp", "aes128gcm16"), ("esp", "aes256-sha256"),
                                    ("udp", "aes128gcm16"), ("ah", "sha256")) for outer in (4, 6)]]


def cases(combinations):
    """(combination, family of the traffic) for parametrize(), and their names."""
    made = [(c, family) for c in combinations for family in c.families]
    return {"argvalues": made, "ids": [f"{c.name}-ipv{family}" for c, family in made]}


def spi_seq(frame):
    """(layer, SPI, sequence number) of a protected frame; None if it is not one."""
    proto, at = net.ethertype(frame)
    if proto == 0x0800:
        upper, at = frame[at + 9], at + (frame[at] & 15) * 4
    elif proto == 0x86dd:
        upper, at = frame[at + 6], at + 40
    else:
        return None
    layer, skip = {50: ("esp", 0), 51: ("ah", 4), 17: ("udp", 8)}.get(upper, (None, 0))
    if layer is None or len(frame) < at + skip + 8:
        return None
    spi, seq = struct.unpack_from("!LL", frame, at + skip)
    return (layer, spi, seq) if spi else None


class Matrix:
    """The attached host, its wire and all combinations. rules: go before the combinations' own."""

    def __init__(self, topology, combinations, rules=()):
        self.topology = topology
        self.host = topology.a
        self.all = [c.place(number) for number, c in enumerate(combinations)]
        for combination, address in itertools.product(self.all, (4, 6)):
            self.host.neighbour(combination.address[address], PEER_MAC)
        self._attach(list(rules))
        self.capture = topology.capture()
        self.port = topology.port(self.host)

    def _attach(self, rules):
        rules += [{"name": c.name, "action": "protect", "peer": c.name, "protection": c.name,
                   "remote": list(c.address.values())} for c in self.all]
        policy = net.policy(rules, {c.name: list(c.address.values()) for c in self.all},
                            {c.name: net.protection_of(c.suite, c.mode, **c.protection)
                             for c in self.all})
        sas = net.sa_file(*[sa for c in self.all for sa in c.sas.values()])
        write = self.topology.write
        self.host.ipsecbpf("attach", net.IFNAME, "--policy", write("policy.json", policy),
                           "--sa", write("sa.json", sas, mode=0o600), "--fresh")

    def find(self, *key, outer=None, tag=""):
        """The combination of that layer, suite, mode (and ESN)."""
        return next(c for c in self.all if (c.outer, c.tag) == (outer, tag) and
                    (c.layer, c.suite, c.mode, c.esn)[:len(key)] == key)

    def sa(self, peer):
        """What `sa list` tells of a peer's SA."""
        (found,) = [sa for sa in self.host.json("sa", "list", net.IFNAME)["sas"]
                    if int(str(sa["spi"]), 0) == peer.spi]
        return found

    def dropped(self):
        """What was dropped so far, by reason, without those of which none was, and without what
        the host's own multicast reports run into."""
        return {reason: count for reason, count in self.host.drops().items()
                if count and reason != "policy_discard"}

    def udp(self, family):
        """A UDP socket of the host, bound to its address."""
        made = self.host.socket(socket.AF_INET6 if family == 6 else socket.AF_INET,
                                socket.SOCK_DGRAM)
        made.bind((HOST[family], 0))
        made.settimeout(5)
        return made

    def send(self, packet):
        """Onto the wire, towards the host."""
        self.send_frame(raw(Ether(src=PEER_MAC, dst=self.host.mac,
                                  type=0x86dd if raw(packet)[0] >> 4 == 6 else 0x0800) /
                            Raw(raw(packet))))

    def send_frame(self, frame):
        self.port.send(frame)

    def wait_protected(self, spi, seq_after=0):
        """The next frame of the host with that SPI."""
        def wanted(frame):
            seen = spi_seq(frame)
            return seen and seen[1] == spi and seen[2] > seq_after
        return self.capture.wait(wanted, f"SPI {spi:#x} after {seq_after}")

    def answers(self, combination, family, data=b"ping of scapy"):
        """The host's kernel answers an echo request through both SAs. The reply."""
        out = combination.out[family]
        self.capture.clear()
        self.send(combination.inbound[family].seal(combination.echo(family, data)))
        return out.open_exact(self.wait_protected(out.spi))[2]
