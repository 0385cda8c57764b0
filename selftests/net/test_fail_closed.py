# SPDX-License-Identifier: BSD-2-Clause
"""No clear packet leaves and none is accepted that policy says to protect, whatever happens.

Each test waits for the counter that says a packet was dropped, or for a later packet that shows
that the earlier one has been dealt with, before it looks at the wire: absence is not assumed from
having waited a while.
"""
import os
import signal
import socket
import struct
import threading

import pytest

import topology as net
from esp_peer import ESP, IP, UDP, Ether, IPv6, Peer, Raw, raw

PEER_MAC = "02:00:00:00:00:02"
SECRET = b"the clear text that nobody may see"


def counted(host):
    """Drop counters without that of the host's own multicast reports, which come at any time."""
    return {reason: count for reason, count in host.drops().items() if reason != "policy_discard"}


def clear_frames(capture, port=None):
    """Frames in the clear; `port` names the one host to look at where the other is not attached,
    and may for instance report its multicast groups."""
    return [f.hex() for f in capture.taken(port) if net.kind(f) not in ("esp", "arp", "nd")]


def ping(host, address, count=1):
    return host.run("ping", "-c", count, "-i0.01", "-W", "1", address, check=False).returncode == 0


def datagram(host, address, payload=SECRET, port=7000):
    """One UDP datagram; whether the host's own policy lets it out is the question."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with host.socket(family, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(payload, (address, port))
        except OSError:
            pass


# ---- before, between and after ------------------------------------------------------------------

def test_nothing_passes_before_a_policy(product, wire):
    a, b = wire.a, wire.b
    assert ping(a, b.address(4)) and ping(a, b.address(6))
    a.ipsecbpf("attach", net.IFNAME)
    capture = wire.capture()
    before = a.drops("no_policy")
    for family in (4, 6):
        assert not ping(a, b.address(family)), "sent without a policy"
        assert not ping(b, a.address(family)), "answered without a policy"
    a.wait_drop("no_policy", before, 4)
    assert not [f for f in capture.taken("a") if net.kind(f) not in ("arp", "nd", "mld")]
    assert a.status()["state"] == "blocked"


def test_protected_traffic_is_protected(pair):
    capture = pair.capture()
    for family in (4, 6):
        assert ping(pair.a, pair.b.address(family), 3)
    net.wait_until(lambda: [net.kind(f) for f in capture.taken()].count("esp") >= 12,
                   "ESP both ways, for each ping")
    assert clear_frames(capture) == []


def test_no_sa_means_no_packet(product, wire):
    a, b = wire.a, wire.b
    policy = wire.write("policy.json", net.protect_all(b))
    a.ipsecbpf("attach", net.IFNAME, "--policy", policy)
    capture = wire.capture()
    before = a.drops("no_sa_out")
    for family in (4, 6):
        datagram(a, b.address(family))
    a.wait_drop("no_sa_out", before, 2)
    assert clear_frames(capture, "a") == []


def test_flush_stops_the_traffic(pair):
    a, b = pair.a, pair.b
    assert ping(a, b.address(4))
    a.ipsecbpf("sa", "flush", net.IFNAME)
    capture = pair.capture()
    before = a.drops("no_sa_out")
    assert not ping(a, b.address(4)) and not ping(a, b.address(6))
    a.wait_drop("no_sa_out", before, 2)
    assert [f for f in capture.taken("a") if net.kind(f) not in ("arp", "nd")] == []


def test_detach_leaves_a_guard(pair):
    a, b = pair.a, pair.b
    assert ping(a, b.address(4))
    a.ipsecbpf("detach", net.IFNAME)
    capture = pair.capture()
    assert a.status()["state"] == "guard"
    before = a.drops("guard")
    for family in (4, 6):
        datagram(a, b.address(family))
    a.wait_drop("guard", before, 2)
    assert not [f for f in capture.taken("a") if net.kind(f) not in ("arp", "nd")]
    # what the other side sends in the clear is refused just the same
    b.ipsecbpf("detach", net.IFNAME, "--open")
    assert not ping(b, a.address(4)), "the guard let clear text in"


def test_open_detach_lets_traffic_flow(pair):
    for host in (pair.a, pair.b):
        host.ipsecbpf("detach", net.IFNAME, "--open")
    capture = pair.capture()
    assert ping(pair.a, pair.b.address(4)) and ping(pair.a, pair.b.address(6))
    assert clear_frames(capture)
    assert not os.path.exists(os.path.join(net.PIN_ROOT, pair.a.key))


def test_a_guard_can_be_attached_again(pair):
    a, b = pair.a, pair.b
    a.ipsecbpf("detach", net.IFNAME)
    capture = pair.capture()
    a.ipsecbpf("attach", net.IFNAME, "--policy", pair.path("policy-a.json"),
               "--sa", pair.path("sa.json"))
    assert ping(a, b.address(4)) and ping(a, b.address(6))
    assert clear_frames(capture) == []


def test_no_leak_while_policies_are_exchanged(pair):
    """40 loads while datagrams go out as fast as Python can send them."""
    a, b = pair.a, pair.b
    other = net.protect_all(b)
    other["rules"].insert(0, {"name": "one more", "action": "protect", "protocol": "udp",
                              "remote_port": 9, "peer": "peer", "protection": "wire"})
    other = pair.write("other.json", other)
    assert ping(a, b.address(4))
    counter = pair.wirecount("-m", SECRET.decode())
    stop = threading.Event()
    flood = threading.Thread(target=send_until, args=(a, b, stop))
    flood.start()
    try:
        for round_ in range(40):
            a.ipsecbpf("policy", "apply", net.IFNAME,
                       pair.path("policy-a.json") if round_ % 2 else other)
    finally:
        stop.set()
        flood.join()
    result = counter.stop()
    assert result["clear"] == 0 and result["marker"] == 0, result["clear_samples"]
    assert result["lost"] == 0 and result["repeated_iv"] == 0
    assert result["esp"] > 1000


def send_until(a, b, stop):
    with a.socket(socket.AF_INET, socket.SOCK_DGRAM) as four, \
         a.socket(socket.AF_INET6, socket.SOCK_DGRAM) as six:
        while not stop.is_set():
            for sender, family in ((four, 4), (six, 6)):
                try:
                    sender.sendto(SECRET, (b.address(family), 9))
                except OSError:         # a full queue, or refused: not clear text
                    pass


def test_dead_supervisor_and_worker_let_nothing_out(pair):
    a, b = pair.a, pair.b
    assert ping(a, b.address(4))
    status = a.status()
    for pid in (status["supervisor_pid"], status["worker_pid"]):
        os.kill(pid, signal.SIGKILL)
    net.wait_until(lambda: not any(os.path.exists(f"/proc/{status[pid]}") for pid in
                                   ("supervisor_pid", "worker_pid")), "both are dead")
    capture = pair.capture()
    for family in (4, 6):
        assert not ping(a, b.address(family)), "a way around the dead worker"
        assert not ping(b, a.address(family))
    assert clear_frames(capture) == []
    assert a.status()["state"] == "supervisor-dead"
    a.ipsecbpf("attach", net.IFNAME, "--policy", pair.path("policy-a.json"),
               "--sa", pair.path("sa.json"))
    assert ping(a, b.address(4)) and ping(a, b.address(6))
    assert clear_frames(capture) == []


# ---- what comes in ------------------------------------------------------------------------------

class Inbound:
    """An attached host with one SA per family whose sender is the test."""

    def __init__(self, lone, esn, mode):
        self.lone, self.host = lone, lone.a
        self.sas = {family: net.new_sa(self.source(family), self.host.address(family), spi,
                                       esn=esn, mode=mode)
                    for family, spi in ((4, 0x4004), (6, 0x4006))}
        self.peer = {family: Peer(sa) for family, sa in self.sas.items()}
        self.port = lone.port(self.host)
        rule = {"name": "all", "action": "protect", "peer": "peer", "protection": "wire",
                "remote": [self.source(4), self.source(6)]}
        policy = net.policy([rule], {"peer": [self.source(4), self.source(6)]},
                            {"wire": net.protection_of(mode=mode)})
        self.host.ipsecbpf("attach", net.IFNAME, "--policy", lone.write("policy.json", policy),
                           "--sa", lone.write("sa.json", net.sa_file(*self.sas.values()),
                                              mode=0o600), "--fresh")
        self.sockets = {}
        for family in (4, 6):
            made = self.host.socket(socket.AF_INET6 if family == 6 else socket.AF_INET,
                                    socket.SOCK_DGRAM)
            made.bind((self.host.address(family), 7000))
            made.settimeout(5)
            self.sockets[family] = made

    @staticmethod
    def source(family):
        return "fd00:9::2" if family == 6 else "10.9.0.2"

    def datagram(self, family, payload, src=None):
        version = IPv6 if family == 6 else IP
        return version(src=src or self.source(family), dst=self.host.address(family)) / \
                UDP(sport=7000, dport=7000) / Raw(payload)

    def sealed(self, family, payload, src=None, **options):
        return self.peer[family].seal(self.datagram(family, payload, src), **options)

    def send(self, packet, kind=None):
        ether = Ether(src=PEER_MAC, dst=self.host.mac)
        if kind:
            ether.type = kind
        self.port.send(raw(ether / packet))

    def send_bytes(self, family, data):
        self.send(Raw(data), 0x86dd if family == 6 else 0x0800)

    def fence(self, family):
        """A good packet: once it is received, all earlier ones have been dealt with."""
        self.send(self.sealed(family, b"fence"))
        got = self.sockets[family].recv(2048)
        assert got == b"fence", f"accepted: {got!r}"

    def refused(self, family, reason, send):
        """send() must raise that drop counter by one and nothing else, and deliver nothing."""
        before, before_reason = counted(self.host), self.host.drops(reason)
        send()
        self.host.wait_drop(reason, before_reason)
        self.fence(family)
        after = counted(self.host)
        risen = {name: after[name] - before[name] for name in after if after[name] != before[name]}
        assert risen == ({} if reason == "policy_discard" else {reason: 1})


@pytest.fixture(params=[(True, "transport")], ids=["esn"])
def inbound(request, product, lone):
    made = Inbound(lone, *request.param)
    yield made
    for opened in made.sockets.values():
        opened.close()


each = pytest.mark.parametrize("family", (4, 6), ids=("ipv4", "ipv6"))


@each
def test_clear_text_from_a_protected_source(inbound, family):
    inbound.refused(family, "clear_text", lambda: inbound.send(inbound.datagram(family, SECRET)))


@each
def test_unknown_spi(inbound, family):
    stranger = Peer(dict(inbound.sas[family], spi=0x4fff))
    inbound.refused(family, "no_sa_in",
                    lambda: inbound.send(stranger.seal(inbound.datagram(family, SECRET))))


@each
def test_right_spi_from_the_wrong_source(inbound, family):
    wrong = "fd00:9::66" if family == 6 else "10.9.0.66"
    packet = inbound.peer[family].seal(inbound.datagram(family, SECRET, src=wrong))
    inbound.refused(family, "sa_source", lambda: inbound.send(packet))


@each
def test_replayed_packet(inbound, family):
    packet = inbound.sealed(family, b"once")
    inbound.send(packet)
    assert inbound.sockets[family].recv(2048) == b"once"
    inbound.refused(family, "replay_dup", lambda: inbound.send(packet))


@each
@pytest.mark.parametrize("inbound", ((True, "transport"), (False, "transport")),
                         ids=("esn", "noesn"), indirect=True)
def test_packet_left_of_the_window(inbound, family):
    """With ESN such a number means the next 2^32 (RFC 4303 A2.2), for which the ICV is wrong."""
    late = inbound.sealed(family, b"late", seq=5)
    inbound.peer[family].seq = 5000
    inbound.fence(family)
    inbound.refused(family, "icv" if inbound.sas[family]["esn"] else "replay_old",
                    lambda: inbound.send(late))


@each
def test_forged_high_sequence_number_moves_no_window(inbound, family):
    inbound.peer[family].seq = 10
    packet = bytearray(raw(inbound.sealed(family, SECRET)))
    offset = 40 if family == 6 else 20
    struct.pack_into("!L", packet, offset + 4, 0x7fffffff)
    inbound.refused(family, "icv", lambda: inbound.send_bytes(family, bytes(packet)))
    inbound.send(inbound.sealed(family, b"still here"))
    assert inbound.sockets[family].recv(2048) == b"still here"


@each
@pytest.mark.parametrize("where", ("icv", "payload", "iv", "sequence"))
def test_any_changed_octet(inbound, family, where):
    inbound.peer[family].seq = 100
    packet = bytearray(raw(inbound.sealed(family, SECRET)))
    esp = 40 if family == 6 else 20
    position = {"icv": len(packet) - 1, "payload": esp + 20, "iv": esp + 15,
                "sequence": esp + 7}[where]
    packet[position] ^= 2
    inbound.peer[family].seq = 200
    inbound.refused(family, "icv", lambda: inbound.send_bytes(family, bytes(packet)))


@each
@pytest.mark.parametrize("length", (0, 4, 7, 8, 12, 16, 31, 33))
def test_truncated_esp(inbound, family, length):
    """Fewer octets than header, IV, trailer and ICV need, or than the block alignment allows."""
    whole = inbound.sealed(family, b"x" * 50)
    esp = raw(whole[ESP])[:length]
    header = IPv6(src=whole.src, dst=whole.dst, nh=50) if family == 6 else \
            IP(src=whole.src, dst=whole.dst, proto=50)
    before = counted(inbound.host)
    inbound.send(header / Raw(esp))
    net.wait_until(lambda: sum(counted(inbound.host).values()) == sum(before.values()) + 1,
                   f"one drop for ESP of {length} octets")
    inbound.fence(family)


@each
@pytest.mark.parametrize("inbound", ((True, "tunnel"),), ids=("tunnel",), indirect=True)
def test_inner_source_must_be_what_policy_says(inbound, family):
    """A peer with a valid tunnel SA cannot speak for others (RFC 4301 5.2, step 4)."""
    foreign = "fd00:9::66" if family == 6 else "10.9.0.66"
    packet = inbound.sealed(family, SECRET, src=foreign)
    inbound.refused(family, "inner_policy", lambda: inbound.send(packet))


@each
def test_a_tunnel_inside_transport_mode_is_not_opened(inbound, family):
    """The next header of a transport-mode SA may say IP in IP: other addresses do not get in so."""
    foreign = "fd00:9::66" if family == 6 else "10.9.0.66"
    inner = inbound.datagram(family, SECRET, src=foreign)
    inbound.send(Peer(dict(inbound.sas[family], mode="tunnel")).seal(inner, seq=50))
    inbound.peer[family].seq = 60
    inbound.fence(family)


def test_unknown_ethertype_is_discarded(inbound):
    inbound.refused(4, "non_ip", lambda: inbound.send(Raw(b"x" * 60), kind=0x88b5))


def test_own_policy_discards_other_peers(inbound):
    """A neighbour that no rule names gets nothing in, in the clear."""
    stranger = inbound.datagram(4, SECRET, src="10.9.0.99")
    inbound.refused(4, "policy_discard", lambda: inbound.send(stranger))
    assert inbound.host.passed("in_bypass") == 0


def test_essential_traffic_works(inbound):
    """ARP is answered although everything else is discarded."""
    from scapy.layers.l2 import ARP
    capture = inbound.lone.capture()
    request = Ether(src=PEER_MAC, dst="ff:ff:ff:ff:ff:ff") / \
            ARP(op=1, hwsrc=PEER_MAC, psrc="10.9.0.2", pdst="10.9.0.1")
    inbound.port.send(raw(request))
    capture.wait(lambda f: net.kind(f) == "arp" and Ether(f)[ARP].op == 2, "the ARP reply")


def test_replay_after_flush_and_apply(pair):
    """The same SAs applied again: what was received before is old, what comes next is accepted."""
    a, b = pair.a, pair.b
    capture = pair.capture()
    assert ping(b, a.address(4), 2)
    old = [f for f in capture.taken("b") if net.kind(f) == "esp"]
    assert old
    for host in (a, b):
        host.ipsecbpf("sa", "flush", net.IFNAME)
        host.ipsecbpf("sa", "apply", net.IFNAME, pair.path("sa.json"))
    before, verified = a.drops(), a.passed("in_verified")
    port = pair.port(a)
    for frame in old:
        port.send(frame)
    net.wait_until(lambda: sum(a.drops(reason) - before[reason]
                               for reason in ("replay_old", "replay_dup")) >= len(old),
                   "the replayed packets to be refused")
    assert a.passed("in_verified") == verified
    assert ping(b, a.address(4)), "new packets are accepted"
