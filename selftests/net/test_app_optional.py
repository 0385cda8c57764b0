# SPDX-License-Identifier: BSD-2-Clause
"""Optional protection: clear text where no SA has ever been, held within bounds."""
import errno
import time

import pytest

import topology as net
from applications import UDP, accept, application, connect, datagram_socket, hear, listen, say, \
    stage, talk
from sockets import Refused

PORT, OTHER_PORT = 7300, 7301
RATE = 20
GROUP = "224.0.0.251"


def optional(in_="request", out="request"):
    return [{"remote": "any", "class": "protected",
             "protect": [{"protection": "wire", "in": in_, "out": out}]}]


@pytest.fixture
def fresh(product):
    with stage() as scene:
        yield scene


def attach(scene, networks=None, **more):
    """Optional on both hosts, without SAs."""
    app = scene.app(networks or optional(), **more)
    scene.attach(*(scene.policy(host, app) for host in (scene.a, scene.b)), sas=False)


def connected(scene, family=4):
    one, other = scene.actor(scene.a), scene.actor(scene.b)
    listen(other, PORT, family)
    connect(one, scene.b.address(family), PORT)
    accept(other)
    return one, other


# ---- until there is an SA -----------------------------------------------------------------------

@pytest.mark.parametrize("family", [4, 6])
def test_from_clear_text_to_protection_and_never_back(fresh, family):
    """... but by the administrator's command, not by an SA's end."""
    attach(fresh)
    one, other = connected(fresh, family)
    talk(one, other)
    assert {packet.secured for packet in fresh.wire.packets()} == {False}
    for host in (fresh.a, fresh.b):
        assert host.passed("out_optional") and host.passed("in_optional")
    fresh.apply_sas(families=(family,))
    fresh.wire.clear()
    talk(one, other, "with SAs")
    assert {packet.secured for packet in fresh.wire.packets()} == {True}
    # b has lost its SAs, and says so in the clear: a does not listen any more
    fresh.b.ipsecbpf("sa", "flush", net.IFNAME)
    before = fresh.a.drops("clear_text")
    say(other, "clear")
    fresh.a.wait_drop("clear_text", before)
    one.do("s.setblocking(False)")
    with pytest.raises(Refused) as refused:
        one.do("s.recv(9)")
    assert refused.value.args == (errno.EAGAIN,)
    fresh.a.ipsecbpf("sa", "flush", net.IFNAME)
    net.wait_until(lambda: readable(one), "what b says again")
    assert hear(one) == "clear"


def readable(actor):
    actor.do("import select")
    return actor.do("len(select.select([s], [], [], 0)[0])")


def test_an_sa_that_ended_leaves_nothing_optional(fresh):
    attach(fresh)
    one, other = connected(fresh)
    document = fresh.sas(families=(4,), limits={"hard": {"packets": 2}})
    for host in (fresh.a, fresh.b):
        host.ipsecbpf("sa", "apply", net.IFNAME, "-", "--fresh", input=document)
    for _ in range(4):
        say(one, "x")
    net.wait_until(lambda: not live_sas(fresh.a), "the SAs of a have ended")
    fresh.wire.clear()
    before = fresh.a.drops("no_sa_out")
    say(one, "more")
    fresh.a.wait_drop("no_sa_out", before)
    assert fresh.wire.unprotected() == []
    stranger = fresh.actor(fresh.b, "other")
    datagram_socket(one, port=PORT, name="d")
    datagram_socket(stranger)
    before = fresh.a.drops("clear_text")
    stranger.do(f"s.sendto(b'x', ({fresh.a.address(4)!r}, {PORT}))")
    fresh.a.wait_drop("clear_text", before)
    fresh.a.ipsecbpf("sa", "flush", net.IFNAME)
    stranger.do(f"s.sendto(b'x', ({fresh.a.address(4)!r}, {PORT}))")
    assert hear(one, "d") == "x"


def live_sas(host):
    return host.json("sa", "list", net.IFNAME)["sas"]


# ---- how much -----------------------------------------------------------------------------------

def test_each_application_has_its_own_budget(fresh):
    """The greedy one's is used up, the other's not: all of its datagrams come."""
    networks = optional()
    modest = application("modest", {"cgroup": fresh.cgroup.path("modest")}, networks)
    greedy = fresh.app(networks, optional_rate=RATE)
    fresh.attach(fresh.policy(fresh.a, greedy, modest), fresh.plain(fresh.b), sas=False)
    one, two = fresh.actor(fresh.a), fresh.actor(fresh.a, "modest")
    stranger = fresh.actor(fresh.b, "other")
    datagram_socket(one, port=PORT)
    datagram_socket(two, port=OTHER_PORT)
    datagram_socket(stranger)
    one.do("s.setblocking(False)")
    before = fresh.a.drops("optional_rate")
    begun = time.monotonic()
    stranger.do("for _ in range(10):\n"
                f"    for _ in range({RATE}): s.sendto(b'x', ({fresh.a.address(4)!r}, {PORT}))\n"
                f"    s.sendto(b'x', ({fresh.a.address(4)!r}, {OTHER_PORT}))")
    for _ in range(10):
        assert hear(two) == "x"
    one.do("got = 0")
    one.do("try:\n    while s.recv(9): got += 1\nexcept BlockingIOError: pass")
    got, slices = one.do("got"), int(time.monotonic() - begun) + 2
    assert RATE <= got <= slices * RATE
    assert got + fresh.a.drops("optional_rate") - before == 10 * RATE


# ---- answers only -------------------------------------------------------------------------------

@pytest.mark.parametrize("family", [4, 6])
def test_a_client_gets_answers_from_where_it_asked(fresh, family):
    attach(fresh)
    one = fresh.actor(fresh.a)
    server, stranger = fresh.actor(fresh.b), fresh.actor(fresh.b, "other")
    datagram_socket(one, family)
    datagram_socket(server, family, PORT)
    datagram_socket(stranger, family)
    one.do(f"s.sendto(b'ask', ({fresh.b.address(family)!r}, {PORT}))")
    server.do("data, sender = s.recvfrom(9)")
    port = one.do("s.getsockname()[1]")
    before = fresh.a.drops("unasked")
    stranger.do(f"s.sendto(b'unasked', ({fresh.a.address(family)!r}, {port}))")
    fresh.a.wait_drop("unasked", before)
    server.do("s.sendto(b'answer', sender)")
    assert hear(one) == "answer"


def test_a_socket_that_chose_its_port_is_spoken_to_by_anybody(fresh):
    attach(fresh)
    one, stranger = fresh.actor(fresh.a), fresh.actor(fresh.b, "other")
    datagram_socket(one, port=PORT)
    datagram_socket(stranger)
    stranger.do(f"s.sendto(b'x', ({fresh.a.address(4)!r}, {PORT}))")
    assert hear(one) == "x"


@pytest.mark.parametrize("group", [GROUP, "10.9.0.255"])
def test_groups_open_nothing(fresh, group):
    """Not sent to, hence nothing comes back, and not taken from."""
    attach(fresh)
    one, stranger = fresh.actor(fresh.a), fresh.actor(fresh.b, "other")
    datagram_socket(one)
    one.do("s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)")
    one.do(f"s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("
           f"{fresh.a.address(4)!r}))")
    before = fresh.a.drops()
    with_errors(one, f"s.sendto(b'ask', ({group!r}, {PORT}))")
    net.wait_until(lambda: fresh.a.drops() != before, "it is dropped")
    assert [packet for packet in fresh.wire.packets("a") if packet.proto == UDP] == []
    datagram_socket(stranger)
    port, refused = one.do("s.getsockname()[1]"), fresh.a.drops("unasked")
    stranger.do(f"s.sendto(b'answer', ({fresh.a.address(4)!r}, {port}))")
    fresh.a.wait_drop("unasked", refused)


@pytest.mark.parametrize("group,reason", [
    ("255.255.255.255", "clear_text"),
    ("10.9.0.255", "unverified"),       # not known as a group until the socket is
])
def test_what_comes_to_a_group_is_refused(fresh, group, reason):
    attach(fresh)
    one, stranger = fresh.actor(fresh.a), fresh.actor(fresh.b, "other")
    datagram_socket(one, port=PORT)
    datagram_socket(stranger)
    stranger.do("s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)")
    stranger.do("s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth0')")
    before = fresh.a.drops(reason)
    stranger.do(f"s.sendto(b'x', ({group!r}, {PORT}))")
    fresh.a.wait_drop(reason, before)


def with_errors(actor, code):
    """What is refused on its way may be told the sender."""
    try:
        actor.do(code)
    except Refused:
        pass


# ---- each direction by itself -------------------------------------------------------------------

DEMANDS = ["none", "request", "require"]


@pytest.mark.parametrize("in_", DEMANDS)
@pytest.mark.parametrize("out", DEMANDS)
def test_what_each_direction_demands(fresh, in_, out):
    """Datagrams between an application of a and anybody on b, without SAs: clear text passes in a
    direction that does not require protection, and with SAs what goes out is protected if asked for."""
    if (in_, out) == ("none", "none"):
        pytest.skip("that is no protection")
    fresh.attach(fresh.policy(fresh.a, fresh.app(optional(in_, out))), fresh.plain(fresh.b), sas=False)
    one, other = fresh.actor(fresh.a), fresh.actor(fresh.b, "other")
    for actor in (one, other):
        datagram_socket(actor, port=PORT)
    reason = fresh.a.drops("no_sa_out")
    with_errors(one, f"s.sendto(b'x', ({fresh.b.address(4)!r}, {PORT}))")
    if out == "require":
        fresh.a.wait_drop("no_sa_out", reason)
    else:
        assert hear(other) == "x"
    reason = fresh.a.drops("clear_text")
    other.do(f"s.sendto(b'y', ({fresh.a.address(4)!r}, {PORT}))")
    if in_ == "require":
        fresh.a.wait_drop("clear_text", reason)
    else:
        assert hear(one) == "y"
    fresh.a.ipsecbpf("sa", "apply", net.IFNAME, "-", "--fresh", input=fresh.sas(families=(4,)))
    fresh.wire.clear()
    one.do(f"s.sendto(b'z', ({fresh.b.address(4)!r}, {PORT}))")
    sent = fresh.wire.wait(lambda packet: packet.payload == b"z", "with SAs", "a")
    assert sent.secured == (out != "none")
    reason = fresh.a.drops("clear_text")
    other.do(f"s.sendto(b'y', ({fresh.a.address(4)!r}, {PORT}))")
    if in_ == "none":
        assert hear(one) == "y"
    else:
        fresh.a.wait_drop("clear_text", reason)
