# SPDX-License-Identifier: BSD-2-Clause
"""Whom applications speak to, how much of that is remembered, and who cannot speak to them."""
import ctypes
import errno
import ipaddress
import socket
import struct

import pytest

import sockets
import topology as net
from applications import ACK, EVERYTHING, SYN, TCP, UDP, accept, application, connect, \
    datagram_socket, hear, listen, stage, talk
from sockets import Refused

PORT, OTHER_PORT = 7200, 7201
FLOWS_MAX = 3
TRUSTED = {4: ("10.9.1.0/24", "10.9.1.2"), 6: ("fd00:9:1::/64", "fd00:9:1::2")}
UNTRUSTED = {4: ("10.9.2.0/24", "10.9.2.2"), 6: ("fd00:9:2::/64", "fd00:9:2::2")}
MANY = 1_000_000
MARK = (0xe5000000).to_bytes(4, "little")


@pytest.fixture
def fresh(product):
    with stage() as scene:
        yield scene


def more_addresses(scene):
    """One host, three networks."""
    for number, host in enumerate((scene.a, scene.b), 1):
        for networks in (TRUSTED, UNTRUSTED):
            host.ip("addr", "add", networks[4][1][:-1] + f"{number}/24", "dev", net.IFNAME)
            host.ip("addr", "add", networks[6][1][:-1] + f"{number}/64", "dev", net.IFNAME, "nodad")


def three_networks(scene, host):
    networks = [{"remote": [TRUSTED[4][0], TRUSTED[6][0]], "class": "trusted"},
                {"remote": [UNTRUSTED[4][0], UNTRUSTED[6][0]], "class": "untrusted"}, *EVERYTHING]
    return scene.policy(host, scene.app(networks))


# ---- destinations -------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def networked(product):
    with stage() as scene:
        more_addresses(scene)
        scene.attach(*(three_networks(scene, host) for host in (scene.a, scene.b)))
        yield scene


@pytest.fixture
def everywhere(networked):
    with networked.one_test():
        yield networked


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("how", ["sendto", "connect"])
def test_one_socket_and_three_networks(everywhere, family, how):
    one, other = everywhere.actor(everywhere.a), everywhere.actor(everywhere.b)
    datagram_socket(one, family)
    datagram_socket(other, family, PORT)
    drops = everywhere.a.drops("policy_discard")
    protected = everywhere.b.address(family)
    for turn in range(3):
        for network in (protected, UNTRUSTED[family][1], TRUSTED[family][1]):
            text = f"{turn} {network}"
            if how == "connect":
                one.do("import ctypes")
                one.do("ctypes.CDLL(None).connect(s.fileno(), bytes(16), 16)")  # forgets its address
                one.do(f"s.connect(({network!r}, {PORT}))")
                one.do(f"s.send({text.encode()!r})")
            else:
                one.do(f"s.sendto({text.encode()!r}, ({network!r}, {PORT}))")
            if network == UNTRUSTED[family][1]:
                continue
            other.do("data, sender = s.recvfrom(99)")
            assert other.do("data.decode()") == text
            other.do("s.sendto(data, sender)")
            assert hear(one) == text
    everywhere.wire.wait(lambda packet: packet.payload == text.encode(), "the last, in the clear", "a")
    spoken = {(packet.secured, packet.dst) for packet in everywhere.wire.packets("a") if packet.proto == UDP}
    assert spoken == {(True, protected), (False, TRUSTED[family][1])}
    assert everywhere.a.drops("policy_discard") >= drops + 3


class Datagrams:
    """sendmmsg(2) of a batch, to addresses that are counted on from batch to batch."""

    BATCH = 1000

    def __init__(self, sock):
        self.sock = sock
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.names = ctypes.create_string_buffer(16 * self.BATCH)
        self.data = ctypes.create_string_buffer(b"x")
        self.vector = ctypes.create_string_buffer(struct.pack("=QQ", ctypes.addressof(self.data), 1))
        headers = b"".join(struct.pack("=QI4xQQQQi4xI4x", ctypes.addressof(self.names) + 16 * i, 16,
                                       ctypes.addressof(self.vector), 1, 0, 0, 0, 0)
                           for i in range(self.BATCH))
        self.headers = ctypes.create_string_buffer(headers)

    def send(self, first):
        self.names.raw = b"".join(struct.pack("=HHI8x", socket.AF_INET, socket.htons(PORT),
                                              socket.htonl(first + i)) for i in range(self.BATCH))
        done = self.libc.sendmmsg(self.sock, self.headers, self.BATCH, 0)
        if done < 0:
            raise OSError(ctypes.get_errno(), "sendmmsg")
        return done


def test_a_million_destinations(product):
    """Optional ones, of which most is remembered."""
    optional = [{"remote": "10.0.0.0/8", "class": "protected",
                 "protect": [{"protection": "wire", "in": "request", "out": "request"}]}]
    with stage(middle=False) as scene:
        scene.a.ip("route", "add", "10.128.0.0/9", "via", scene.b.address(4))
        scene.b.ip("route", "add", "blackhole", "10.128.0.0/9")
        scene.a.neighbour(scene.b.address(4), scene.b.mac)
        scene.attach(scene.policy(scene.a, scene.app(optional)), sas=False)
        actor = scene.actor(scene.a)
        datagram_socket(actor)
        actor.do(f"s.sendto(b'x', ('10.128.0.1', {PORT}))")
        names = ("app_flows", "app_endpoints", "app_closed", "app_usage")
        before = [scene.entries(scene.a, name) for name in names]
        passed, sent = scene.a.passed("out_optional"), 0
        first = int(ipaddress.IPv4Address("10.128.0.0"))
        fd = actor.fd("s")
        with socket.socket(fileno=fd):
            many = Datagrams(fd)
            while sent < MANY:
                sent += many.send(first + sent)
        assert scene.a.passed("out_optional") == passed + sent
        assert [scene.entries(scene.a, name) for name in names] == before
        assert scene.a.drops("app_full") == 0


def test_more_connections_than_it_may_have(fresh):
    """Others have theirs."""
    greedy = fresh.app(max_flows=FLOWS_MAX)
    modest = application("modest", {"cgroup": fresh.cgroup.path("modest")})
    fresh.attach(fresh.policy(fresh.a, greedy, modest), fresh.policy(fresh.b))
    one, other = fresh.actor(fresh.a), fresh.actor(fresh.b)
    listen(other, PORT)
    for number in range(FLOWS_MAX):
        connect(one, fresh.b.address(4), PORT, f"s{number}")
    for _ in range(2):
        with pytest.raises(Refused) as refused:
            connect(one, fresh.b.address(4), PORT, "more")
        assert refused.value.args == (errno.EPERM,)
    assert fresh.a.drops("app_full") == 2
    connect(fresh.actor(fresh.a, "modest"), fresh.b.address(4), PORT)
    bystander = fresh.actor(fresh.b, "other")
    listen(bystander, OTHER_PORT)
    connect(fresh.actor(fresh.a, "other"), fresh.b.address(4), OTHER_PORT)
    accept(other)
    talk(one, other, names=("s0", "s"))
    one.do("s0.close()")
    net.wait_until(lambda: fresh.entries(fresh.a, "app_flows") == FLOWS_MAX, "one is forgotten")
    connect(one, fresh.b.address(4), PORT, "again")
    assert {packet.src_port for packet in fresh.wire.unprotected()} & {PORT} == set()


# ---- sockets that are older ---------------------------------------------------------------------

@pytest.mark.parametrize("older_than", ["policy", "attach"])
@pytest.mark.parametrize("family", [4, 6])
def test_sockets_that_are_older(fresh, older_than, family):
    """A connection, a listener and a datagram socket, of programs that became applications late."""
    one, other = fresh.actor(fresh.a), fresh.actor(fresh.b)
    if older_than == "policy":
        fresh.attach(fresh.plain(fresh.a), fresh.plain(fresh.b), sas=False)
    listen(other, PORT, family)
    connect(one, fresh.b.address(family), PORT)
    accept(other)
    datagram_socket(other, family, PORT, "d")
    talk(one, other, "in the clear")
    fresh.wire.wait(lambda packet: not packet.secured and packet.payload == b"in the clear",
                    "what b says", "b")
    if older_than == "policy":
        for host in (fresh.a, fresh.b):
            fresh.apply(host, fresh.policy(host))
        fresh.apply_sas()
    else:
        fresh.attach()
    fresh.wire.clear()
    talk(one, other, "from now on")
    connect(one, fresh.b.address(family), PORT, "t")
    accept(other, name="t")
    talk(one, other, names=("t", "t"))
    datagram_socket(one, family, name="d")
    one.do(f"d.sendto(b'ask', ({fresh.b.address(family)!r}, {PORT}))")
    other.do("data, sender = d.recvfrom(99)")
    other.do("d.sendto(b'answer', sender)")
    assert hear(one, "d") == "answer"
    one.do("s.close()")
    assert hear(other) == ""
    other.do("s.close()")
    fresh.wire.wait_flags(SYN | ACK, "SYN-ACK", "b")
    assert fresh.wire.unprotected() == []


def test_another_network_namespace_is_not_touched(product):
    """Host c is not attached; the same program in the same cgroup is nobody's application there."""
    with stage(hosts=("a", "b", "c")) as scene:
        scene.attach()
        stranger, other = scene.actor(scene.topology.c), scene.actor(scene.b, "other")
        listen(other, PORT)
        connect(stranger, scene.b.address(4), PORT)
        accept(other)
        talk(stranger, other)
        fd = stranger.fd("s")
        with socket.socket(fileno=fd):
            assert sockets.noted(scene.a, fd) is None and sockets.noted(scene.b, fd) is None
        assert {packet.secured for packet in scene.wire.packets("c")} == {False}


# ---- who cannot speak to them -------------------------------------------------------------------

@pytest.fixture(scope="module")
def attached(product):
    """Host c speaks in the clear, as others on b do."""
    with stage(hosts=("a", "b", "c")) as scene:
        scene.attach()
        yield scene


def mark(actor, name):
    """As what an SA has verified is marked."""
    actor.do(f"{name}.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, {MARK!r})")


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("who,reason", [("b", "clear_text"), ("c", "policy_discard")])
def test_clear_text_to_an_application(scene, family, who, reason):
    """TCP finds nobody, UDP is not read; neither is answered, which would be in the clear."""
    one = scene.actor(scene.a)
    stranger = scene.actor(getattr(scene.topology, who), "other")
    listen(one, PORT, family)
    datagram_socket(one, family, PORT, "d")
    one.do("d.setblocking(False)")
    before = scene.a.drops(reason)
    datagram_socket(stranger, family)
    # marks do not travel, but what reads them might be wrong
    mark(stranger, "s")
    stranger.do(f"s.sendto(b'x', ({scene.a.address(family)!r}, {PORT}))")
    scene.a.wait_drop(reason, before)
    stranger.do(f"t = socket.socket(socket.AF_INET{'6' if family == 6 else ''})")
    mark(stranger, "t")
    stranger.do("t.setblocking(False)")
    with pytest.raises(Refused):
        stranger.do(f"t.connect(({scene.a.address(family)!r}, {PORT}))")
    scene.a.wait_drop(reason, before, 2)
    with pytest.raises(Refused) as refused:
        one.do("d.recv(9)")
    assert refused.value.args == (errno.EAGAIN,)
    assert [packet for packet in scene.wire.packets("a") if packet.proto in (TCP, UDP)] == []


def test_clear_text_that_policy_let_pass(scene):
    """A raw socket of the application would get copies of what others on the host may read."""
    one, other = scene.actor(scene.a), scene.actor(scene.a, "other")
    stranger = scene.actor(scene.b, "other")
    one.do("s = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP); s.setblocking(False)")
    datagram_socket(other, 4, OTHER_PORT)
    datagram_socket(stranger)
    before = scene.a.drops("unverified")
    stranger.do(f"s.sendto(b'x', ({scene.a.address(4)!r}, {OTHER_PORT}))")
    assert hear(other) == "x"
    scene.a.wait_drop("unverified", before)
    with pytest.raises(Refused) as refused:
        one.do("s.recv(99)")
    assert refused.value.args == (errno.EAGAIN,)


def test_a_mark_over_loopback_is_not_verified(scene):
    """Under the peer's address; what has one of the host's own needs no mark."""
    scene.a.ip("route", "add", "local", scene.b.address(4), "dev", "lo")
    try:
        one, forger = scene.actor(scene.a), scene.actor(scene.a, "other")
        datagram_socket(one, 4, PORT)
        one.do("s.setblocking(False)")
        datagram_socket(forger)
        mark(forger, "s")
        forger.do(f"s.bind(({scene.b.address(4)!r}, 0))")
        before = scene.a.drops("unverified")
        forger.do(f"s.sendto(b'x', ('127.0.0.1', {PORT}))")
        scene.a.wait_drop("unverified", before)
    finally:
        scene.a.ip("route", "del", "local", scene.b.address(4), "dev", "lo")
