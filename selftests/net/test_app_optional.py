# SPDX-License-Identifier: BSD-2-Clause
"""Optional protection: clear text where no SA has ever been, held within bounds."""
import errno
import json
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


@pytest.fixture(scope="module")
def attached(product):
    with stage() as scene:
        scene.attach(sas=False)
        yield scene


@pytest.fixture
def scene(attached):
    """Optional on both hosts, without SAs."""
    app = attached.app(optional())
    attached.install(*(attached.policy(host, app) for host in (attached.a, attached.b)))
    with attached.one_test():
        yield attached


def connected(scene, family=4):
    one, other = scene.actor(scene.a), scene.actor(scene.b)
    listen(other, PORT, family)
    connect(one, scene.b.address(family), PORT)
    accept(other)
    return one, other


# ---- until there is an SA -----------------------------------------------------------------------

@pytest.mark.parametrize("family", [4, 6])
def test_from_clear_text_to_protection_and_never_back(scene, family):
    """... but by the administrator's command, not by an SA's end."""
    before = [(host, counter, host.passed(counter)) for host in (scene.a, scene.b)
              for counter in ("out_optional", "in_optional")]
    one, other = connected(scene, family)
    talk(one, other)
    assert {packet.secured for packet in scene.wire.packets()} == {False}
    assert [host.passed(counter) > count for host, counter, count in before] == [True] * 4
    scene.apply_sas(families=(family,))
    scene.wire.clear()
    talk(one, other, "with SAs")
    assert {packet.secured for packet in scene.wire.packets()} == {True}
    # b has lost its SAs, and says so in the clear: a does not listen any more
    scene.b.ipsecbpf("sa", "flush", net.IFNAME)
    before = scene.a.drops("clear_text")
    say(other, "clear")
    scene.a.wait_drop("clear_text", before)
    one.do("s.setblocking(False)")
    with pytest.raises(Refused) as refused:
        one.do("s.recv(9)")
    assert refused.value.args == (errno.EAGAIN,)
    scene.a.ipsecbpf("sa", "flush", net.IFNAME)
    net.wait_until(lambda: readable(one), "what b says again")
    assert hear(one) == "clear"


def readable(actor):
    actor.do("import select")
    return actor.do("len(select.select([s], [], [], 0)[0])")


def test_an_sa_that_ended_leaves_nothing_optional(scene):
    one, other = connected(scene)
    document = scene.sas(families=(4,), limits={"hard": {"packets": 2}})
    for host in (scene.a, scene.b):
        host.ipsecbpf("sa", "apply", net.IFNAME, "-", "--fresh", input=document)
    for _ in range(4):
        say(one, "x")
    net.wait_until(lambda: not live_sas(scene.a), "the SAs of a have ended")
    scene.wire.clear()
    before = scene.a.drops("no_sa_out")
    say(one, "more")
    scene.a.wait_drop("no_sa_out", before)
    assert scene.wire.unprotected() == []
    stranger = scene.actor(scene.b, "other")
    datagram_socket(one, port=PORT, name="d")
    datagram_socket(stranger)
    before = scene.a.drops("clear_text")
    stranger.do(f"s.sendto(b'x', ({scene.a.address(4)!r}, {PORT}))")
    scene.a.wait_drop("clear_text", before)
    scene.a.ipsecbpf("sa", "flush", net.IFNAME)
    stranger.do(f"s.sendto(b'x', ({scene.a.address(4)!r}, {PORT}))")
    assert hear(one, "d") == "x"
    for actor in (one, other):      # what was to say goodbye would come much later
        actor.do("s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1] + [0] * 7))")


def dropped_or_heard(scene, sender, receiver):
    """One datagram from the application of a: is it in the clear, or dropped for want of an SA?"""
    before = scene.a.drops("no_sa_out")
    with_errors(sender, f"s.sendto(b'x', ({scene.b.address(4)!r}, {PORT}))")
    net.wait_until(lambda: readable(receiver) or scene.a.drops("no_sa_out") > before, "either")
    return "heard" if readable(receiver) and hear(receiver) else "dropped"


@pytest.mark.parametrize("way", ["for good", "on trial", "of a trial"])
def test_a_pair_that_was_left_out_is_not_optional_again(scene, way):
    """... when it comes back. An SA has served it; that it was in no policy meanwhile is no flush.
    On trial: what leaves it out is confirmed. Of a trial: it is what is on trial that names it."""
    a, without = scene.a, scene.plain(scene.a)
    with_it = scene.policy(a, scene.app(optional()))

    def apply(policy, *options):
        a.ipsecbpf("policy", "apply", net.IFNAME, "-", *options, input=json.dumps(policy))

    if way == "of a trial":
        apply(without)
        apply(with_it, "--confirm", 60)
    a.ipsecbpf("sa", "apply", net.IFNAME, "-", "--fresh", input=scene.sas(families=(4,)))
    for sa in live_sas(a):
        a.ipsecbpf("sa", "delete", net.IFNAME, "--dst", sa["dst"], "--spi", sa["spi"])
    if way == "of a trial":
        a.ipsecbpf("policy", "confirm", net.IFNAME, "--undo")
    else:
        apply(without, *(["--confirm", 60] if way == "on trial" else []))
    if way == "on trial":
        a.ipsecbpf("policy", "confirm", net.IFNAME)
    apply({**without, "rules": [{"name": "more", "protocol": "tcp", "action": "bypass"},
                                *without["rules"]]})
    apply(with_it)
    one, other = scene.actor(a), scene.actor(scene.b, "other")
    datagram_socket(one)
    datagram_socket(other, port=PORT)
    assert dropped_or_heard(scene, one, other) == "dropped"
    a.ipsecbpf("sa", "flush", net.IFNAME)
    assert dropped_or_heard(scene, one, other) == "heard"


def test_an_sa_that_served_on_trial_counts_when_the_trial_is_undone(scene):
    """Also where the trial's policy defines the pair otherwise: it is the same pair."""
    a, networks = scene.a, scene.app(optional())
    otherwise = scene.policy(a, networks, protection=net.protection_of("aes256gcm16"))
    a.ipsecbpf("policy", "apply", net.IFNAME, "-", "--confirm", 60, input=json.dumps(otherwise))
    a.ipsecbpf("sa", "apply", net.IFNAME, "-", "--fresh",
               input=json.dumps(net.both_ways(scene.a, scene.b, suite="aes256gcm16", families=(4,))))
    a.ipsecbpf("policy", "confirm", net.IFNAME, "--undo")
    one, other = scene.actor(a), scene.actor(scene.b, "other")
    datagram_socket(one)
    datagram_socket(other, port=PORT)
    assert dropped_or_heard(scene, one, other) == "dropped"
    a.ipsecbpf("sa", "flush", net.IFNAME)


def live_sas(host):
    return host.json("sa", "list", net.IFNAME)["sas"]


# ---- how much -----------------------------------------------------------------------------------

def test_each_application_has_its_own_budget(scene):
    """The greedy one's is used up, the other's not: all of its datagrams come."""
    networks = optional()
    modest = application("modest", {"cgroup": scene.cgroup.path("modest")}, networks)
    greedy = scene.app(networks, optional_rate=RATE)
    scene.install(scene.policy(scene.a, modest, greedy), scene.plain(scene.b))
    one, two = scene.actor(scene.a), scene.actor(scene.a, "modest")
    stranger = scene.actor(scene.b, "other")
    datagram_socket(one, port=PORT)
    datagram_socket(two, port=OTHER_PORT)
    datagram_socket(stranger)
    one.do("s.setblocking(False)")
    before = scene.a.drops("optional_rate")
    begun = time.monotonic()
    stranger.do("for _ in range(10):\n"
                f"    for _ in range({RATE}): s.sendto(b'x', ({scene.a.address(4)!r}, {PORT}))\n"
                f"    s.sendto(b'x', ({scene.a.address(4)!r}, {OTHER_PORT}))")
    for _ in range(10):
        assert hear(two) == "x"
    one.do("got = 0")
    one.do("try:\n    while s.recv(9): got += 1\nexcept BlockingIOError: pass")
    got, slices = one.do("got"), int(time.monotonic() - begun) + 2
    assert RATE <= got <= slices * RATE
    assert got + scene.a.drops("optional_rate") - before == 10 * RATE


def test_what_comes_in_as_anothers_is_counted(scene):
    """Both share the port. What is let in as the other's, in the clear, reaches the first all the same."""
    trusting = application("trusting", {"cgroup": scene.cgroup.path("trusting")},
                           [{"remote": "any", "class": "trusted"}])
    scene.install(scene.policy(scene.a, scene.app(optional(), optional_rate=RATE), trusting),
                  scene.plain(scene.b))
    one, two = scene.actor(scene.a), scene.actor(scene.a, "trusting")
    for actor in (one, two):
        actor.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
        actor.do("s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)")
        actor.do(f"s.bind(('', {PORT}))")
        actor.do("s.setblocking(False)")
    stranger = scene.actor(scene.b, "other")
    stranger.do("every = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(400)]")
    before = scene.a.drops("optional_rate")
    begun = time.monotonic()
    stranger.do(f"for s in every: s.sendto(b'x', ({scene.a.address(4)!r}, {PORT}))")
    for actor in (one, two):
        actor.do("got = 0")

    def heard(actor):
        actor.do("try:\n    while s.recv(9): got += 1\nexcept BlockingIOError: pass")
        return actor.do("got")

    def refused():
        return scene.a.drops("optional_rate") - before

    net.wait_until(lambda: heard(one) + heard(two) + refused() == 400, "all have come or are refused")
    assert refused() and RATE <= heard(one) <= (int(time.monotonic() - begun) + 2) * RATE


def test_a_budget_goes_by_name_not_by_place(scene):
    """The next policy's first application has not used what the last one's has."""
    greedy = scene.app(optional(), optional_rate=1)
    modest = application("modest", {"cgroup": scene.cgroup.path("modest")}, optional(), optional_rate=3)
    one, two = scene.actor(scene.a), scene.actor(scene.a, "modest")
    stranger = scene.actor(scene.b, "other")
    datagram_socket(one, port=PORT)
    datagram_socket(two, port=OTHER_PORT)
    datagram_socket(stranger)
    scene.install(scene.policy(scene.a, greedy), scene.plain(scene.b))
    before = scene.a.drops("optional_rate")
    for _ in range(5):
        stranger.do(f"s.sendto(b'x', ({scene.a.address(4)!r}, {PORT}))")
    scene.apply(scene.a, scene.policy(scene.a, modest, greedy))
    for _ in range(3):
        stranger.do(f"s.sendto(b'x', ({scene.a.address(4)!r}, {OTHER_PORT}))")
        assert hear(two) == "x"
    assert scene.a.drops("optional_rate") > before


# ---- answers only -------------------------------------------------------------------------------

@pytest.mark.parametrize("family", [4, 6])
def test_a_client_gets_answers_from_where_it_asked(scene, family):
    one = scene.actor(scene.a)
    server, stranger = scene.actor(scene.b), scene.actor(scene.b, "other")
    datagram_socket(one, family)
    datagram_socket(server, family, PORT)
    datagram_socket(stranger, family)
    one.do(f"s.sendto(b'ask', ({scene.b.address(family)!r}, {PORT}))")
    server.do("data, sender = s.recvfrom(9)")
    port = one.do("s.getsockname()[1]")
    before = scene.a.drops("unasked")
    stranger.do(f"s.sendto(b'unasked', ({scene.a.address(family)!r}, {port}))")
    scene.a.wait_drop("unasked", before)
    server.do("s.sendto(b'answer', sender)")
    assert hear(one) == "answer"


def test_a_socket_that_chose_its_port_is_spoken_to_by_anybody(scene):
    one, stranger = scene.actor(scene.a), scene.actor(scene.b, "other")
    datagram_socket(one, port=PORT)
    datagram_socket(stranger)
    stranger.do(f"s.sendto(b'x', ({scene.a.address(4)!r}, {PORT}))")
    assert hear(one) == "x"


@pytest.mark.parametrize("group", [GROUP, "10.9.0.255"])
def test_groups_open_nothing(scene, group):
    """Not sent to, hence nothing comes back, and not taken from."""
    one, stranger = scene.actor(scene.a), scene.actor(scene.b, "other")
    datagram_socket(one)
    one.do("s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)")
    one.do(f"s.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("
           f"{scene.a.address(4)!r}))")
    before = scene.a.drops()
    with_errors(one, f"s.sendto(b'ask', ({group!r}, {PORT}))")
    net.wait_until(lambda: scene.a.drops() != before, "it is dropped")
    assert [packet for packet in scene.wire.packets("a") if packet.proto == UDP] == []
    datagram_socket(stranger)
    port, refused = one.do("s.getsockname()[1]"), scene.a.drops("unasked")
    stranger.do(f"s.sendto(b'answer', ({scene.a.address(4)!r}, {port}))")
    scene.a.wait_drop("unasked", refused)


@pytest.mark.parametrize("group,reason", [
    ("255.255.255.255", "clear_text"),
    ("10.9.0.255", "unverified"),       # not known as a group until the socket is
])
def test_what_comes_to_a_group_is_refused(scene, group, reason):
    one, stranger = scene.actor(scene.a), scene.actor(scene.b, "other")
    datagram_socket(one, port=PORT)
    datagram_socket(stranger)
    stranger.do("s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)")
    stranger.do("s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b'eth0')")
    before = scene.a.drops(reason)
    stranger.do(f"s.sendto(b'x', ({group!r}, {PORT}))")
    scene.a.wait_drop(reason, before)


def with_errors(actor, code):
    """What is refused on its way may be told the sender."""
    try:
        actor.do(code)
    except Refused:
        pass


# ---- each direction by itself -------------------------------------------------------------------

DEMANDS = ["none", "request", "require"]


@pytest.mark.parametrize("in_,out", [(in_, out) for in_ in DEMANDS for out in DEMANDS
                                     if (in_, out) != ("none", "none")])
def test_what_each_direction_demands(scene, in_, out):
    """Datagrams between an application of a and anybody on b, without SAs: clear text passes in a
    direction that does not require protection, and with SAs what goes out is protected if asked for."""
    scene.install(scene.policy(scene.a, scene.app(optional(in_, out))), scene.plain(scene.b))
    one, other = scene.actor(scene.a), scene.actor(scene.b, "other")
    for actor in (one, other):
        datagram_socket(actor, port=PORT)
    reason = scene.a.drops("no_sa_out")
    with_errors(one, f"s.sendto(b'x', ({scene.b.address(4)!r}, {PORT}))")
    if out == "require":
        scene.a.wait_drop("no_sa_out", reason)
    else:
        assert hear(other) == "x"
    reason = scene.a.drops("clear_text")
    other.do(f"s.sendto(b'y', ({scene.a.address(4)!r}, {PORT}))")
    if in_ == "require":
        scene.a.wait_drop("clear_text", reason)
    else:
        assert hear(one) == "y"
    scene.a.ipsecbpf("sa", "apply", net.IFNAME, "-", "--fresh", input=scene.sas(families=(4,)))
    scene.wire.clear()
    one.do(f"s.sendto(b'z', ({scene.b.address(4)!r}, {PORT}))")
    sent = scene.wire.wait(lambda packet: packet.payload == b"z", "with SAs", "a")
    assert sent.secured == (out != "none")
    reason = scene.a.drops("clear_text")
    other.do(f"s.sendto(b'y', ({scene.a.address(4)!r}, {PORT}))")
    if in_ == "none":
        assert hear(one) == "y"
    else:
        scene.a.wait_drop("clear_text", reason)
