# SPDX-License-Identifier: BSD-2-Clause
"""The socket hooks: who made a socket, where it can be spoken to, and for how long that is known."""
import errno
import json
import os
import socket

import pytest

import sockets
import topology as net
from sockets import FLOWS_MAX, V4, V6, Refused, document, trusted

UID, GID = 12345, 23456
TCP, UDP = socket.IPPROTO_TCP, socket.IPPROTO_UDP
MPTCP = 262


@pytest.fixture(scope="module")
def attached(product):
    with sockets.scene() as scene:
        scene.attach(scene.policy())
        yield scene


# ---- who ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("where", [
    "app", "other", "a.slice/b.slice/web.service/worker", "a.slice", "a.slice/.slice/x", "x" * 32,
    "y" * 33, "z" * 200,
    "1/2/3/4/5/6/7/8/9",
], ids=lambda where: where[:34])
def test_identity_is_that_of_the_process(scene, where):
    actor = scene.actor(where, uid=UID, gid=GID)
    actor.do("s = socket.socket(socket.AF_INET, socket.SOCK_STREAM)")
    who, seed = scene.who(actor), sockets.seed_of(scene.a)
    cgroup, unit, level = sockets.cgroup_digests(seed, scene.cgroup.path(where))
    assert (who.cgroup, who.unit, who.unit_level) == (cgroup, unit, level)
    assert who.cgroup_id == os.stat(scene.cgroup.add(where)).st_ino
    assert who.exe == sockets.exe_digest(seed, sockets.PYTHON)
    assert (who.uid, who.gid) == (UID, GID)


@pytest.mark.parametrize("family", ["AF_INET", "AF_INET6"])
@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM"])
def test_application_is_known(scene, family, kind):
    for where, app in (("app", 1), ("other", 0)):
        actor = scene.actor(where)
        actor.do(f"s = socket.socket(socket.{family}, socket.{kind})")
        actor.do("s.bind(('', 0))")
        assert scene.who(actor).app == app


def test_accepted_sockets_inherit(scene):
    server, client = scene.actor(), scene.actor("other", scene.b)
    server.do("l = socket.create_server(('10.9.0.1', 7001))")
    client.do("s = socket.create_connection(('10.9.0.1', 7001))")
    server.do("s, _ = l.accept()")
    listener, accepted = scene.who(server, "l"), scene.who(server)
    assert accepted.who == listener.who
    assert accepted.cookie and accepted.cookie != listener.cookie
    port = client.do("s.getsockname()[1]")
    assert scene.flows()[7001, port]["cookie"] == accepted.cookie


def test_passing_a_descriptor_changes_nothing(scene):
    """Neither who made it, nor whose it is: for an application and for others."""
    for owner, taker, app in (("app", "other", 1), ("other", "app", 0)):
        giver, receiver = scene.actor(owner), scene.actor(taker, uid=UID, gid=GID)
        name = f"\\0ipsecbpf-test-{os.getpid()}"
        receiver.do("u = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)")
        receiver.do(f"u.bind('{name}')")
        giver.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
        before = scene.who(giver)
        giver.do("u = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)")
        giver.do(f"u.connect('{name}')")
        giver.do("hand_over(u, s)")
        receiver.do("s = take_over(u)")
        giver.do("s.close()")
        receiver.do("s.bind(('10.9.0.1', 7002))")
        receiver.do("s.connect(('10.9.0.2', 7002))")
        assert scene.who(receiver).who == before.who
        assert ((UDP, V4, "10.9.0.1", 7002) in scene.endpoints()) == bool(app)
        scene.end(giver, receiver)


def test_other_network_namespaces_are_untouched(scene):
    """In the application's cgroup, but on another host."""
    actor = scene.actor("app", scene.b)
    before = scene.a.drops()
    actor.do("s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)")
    actor.do("s.bind(('::', 7003))")
    actor.do("s.sendto(b'x', ('fd00:9::1', 7003))")
    assert scene.who(actor) is None
    actor.do("l = socket.create_server(('10.9.0.2', 7003))")
    actor.do("c = [socket.create_connection(('10.9.0.2', 7003)) for _ in range(8)]")
    assert scene.who(actor, "l") is None
    assert not scene.endpoints() and not scene.flows()
    assert scene.a.drops() == before


# ---- endpoints ----------------------------------------------------------------------------------

BOUND = {
    "v4": ("AF_INET", "('10.9.0.1', 7100)", [(V4, "10.9.0.1")]),
    "v4-any": ("AF_INET", "('', 7100)", [(V4, "0.0.0.0")]),
    "v6": ("AF_INET6", "('fd00:9::1', 7100)", [(V6, "fd00:9::1")]),
    "v6-dual": ("AF_INET6", "('::', 7100)", [(V6, "::"), (V4, "0.0.0.0")]),
    "v4-mapped": ("AF_INET6", "('::ffff:10.9.0.1', 7100)", [(V4, "10.9.0.1")]),
}


@pytest.mark.parametrize("how", BOUND)
@pytest.mark.parametrize("proto", [UDP, TCP])
def test_endpoints_come_and_go_with_their_sockets(scene, how, proto):
    family, to, where = BOUND[how]
    actor = scene.actor()
    actor.do(f"s = socket.socket(socket.{family}, {1 if proto == TCP else 2})")
    actor.do(f"s.bind({to})")
    if proto == TCP:
        assert not scene.endpoints()
        actor.do("s.listen()")
    assert scene.endpoints() == {(proto, kind, local, 7100): 1 for kind, local in where}
    assert scene.who(actor).flags == sockets.SERVER
    actor.do("s.close()")
    assert not scene.endpoints()


def test_v6_only(scene):
    actor = scene.actor()
    actor.do("s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)")
    actor.do("s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)")
    actor.do("s.bind(('::', 7101))")
    assert scene.endpoints() == {(UDP, V6, "::", 7101): 1}


@pytest.mark.parametrize("family,to", [("AF_INET", "10.9.0.2"), ("AF_INET6", "fd00:9::2"),
                                       ("AF_INET6", "::ffff:10.9.0.2")])
@pytest.mark.parametrize("connected", [False, True])
def test_ports_that_the_kernel_chose(scene, family, to, connected):
    """Known with the first datagram, whatever way it takes; and such a socket is no server."""
    actor = scene.actor()
    actor.do(f"s = socket.socket(socket.{family}, socket.SOCK_DGRAM)")
    if connected:
        actor.do(f"s.connect(('{to}', 7102))")
        actor.do("s.send(b'x')")
    else:
        actor.do(f"s.sendto(b'x', ('{to}', 7102))")
    port = actor.do("s.getsockname()[1]")
    net.wait_until(lambda: {key[3] for key in scene.endpoints()} == {port}, "the endpoint is noted")
    assert scene.who(actor).flags == 0


def test_bind_to_any_port_is_no_server(scene):
    actor = scene.actor()
    actor.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    actor.do("s.bind(('', 0))")
    assert scene.who(actor).flags == 0
    assert scene.endpoints() == {(UDP, V4, "0.0.0.0", actor.do("s.getsockname()[1]")): 1}


def test_disconnected_and_bound_anew(scene):
    """connect(AF_UNSPEC) gives the port back; the next datagram takes another."""
    actor = scene.actor()
    actor.do("import ctypes")
    actor.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    actor.do("s.sendto(b'x', ('10.9.0.2', 7103))")
    actor.do(DISCONNECT)
    actor.do("s.sendto(b'x', ('10.9.0.2', 7103))")
    assert scene.endpoints() == {(UDP, V4, "0.0.0.0", actor.do("s.getsockname()[1]")): 1}


DISCONNECT = "ctypes.CDLL(None).connect(s.fileno(), bytes(16), 16)"


@pytest.mark.parametrize("absent,end", [("10.9.0.201", "s.close()"), ("10.9.0.202", DISCONNECT)],
                         ids=["closed", "disconnected"])
def test_datagrams_that_outlive_their_port(scene, absent, end):
    """They wait for their neighbour, and are sent when their socket has no port any more."""
    actor = scene.actor()
    actor.do("import ctypes")
    actor.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    actor.do(f"s.connect(('{absent}', 7104))")
    actor.do("s.send(b'x')")
    actor.do(end)
    assert not scene.endpoints()
    sent = scene.a.passed("out_bypass")
    scene.a.neighbour(absent, "02:00:00:00:00:77")
    net.wait_until(lambda: scene.a.passed("out_bypass") > sent, "it is sent")
    assert not scene.endpoints()


def test_a_listener_that_becomes_a_connection(scene):
    """Its endpoint is not forgotten with the listener: it would be the application's for ever."""
    actor = scene.actor()
    actor.do("import ctypes")
    actor.do("l = socket.create_server(('127.0.0.1', 7106))")
    actor.do("s = socket.create_server(('', 7107))")
    assert list(scene.endpoints()) == [(TCP, V4, "0.0.0.0", 7107)]  # what 127.0.0.1 has is on no wire
    actor.do(DISCONNECT)
    actor.do("s.connect(('127.0.0.1', 7106))")
    assert not scene.endpoints()


def test_endpoints_are_limited(scene):
    """As connections are, and beside them."""
    actor = scene.actor()
    actor.do("s = [socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(9)]")
    for i in range(FLOWS_MAX):
        actor.do(f"s[{i}].bind(('10.9.0.1', {7110 + i}))")
    with pytest.raises(Refused) as refused:
        actor.do("s[8].bind(('10.9.0.1', 7120))")
    assert refused.value.args[0] == errno.EPERM
    actor.do("s[8].bind(('127.0.0.1', 7120))")
    actor.do("s[0].close()")
    actor.do("s[7].bind(('10.9.0.1', 7121))")
    assert len(scene.endpoints()) == FLOWS_MAX


def test_a_port_is_whose_the_last_socket_is(fresh):
    """One program takes over from another, and they share the port for a while."""
    fresh.attach(document(*[trusted(name, fresh.cgroup.path(name)) for name in ("app", "next")]))
    old, new = fresh.actor("app"), fresh.actor("next")
    for actor, app in ((old, 1), (new, 2)):
        actor.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
        actor.do("s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)")
        actor.do("s.bind(('10.9.0.1', 7108))")
        assert [entry["value"]["resolved"] & 0xffffffff
                for entry in sockets.dump(fresh.a, "app_endpoints")] == [app]
    old.do("s.close()")
    assert fresh.endpoints() == {(UDP, V4, "10.9.0.1", 7108): 1}


def test_shared_ports(scene):
    first, second = scene.actor(), scene.actor()
    for actor in (first, second):
        actor.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
        actor.do("s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)")
        actor.do("s.bind(('10.9.0.1', 7104))")
    key = (UDP, V4, "10.9.0.1", 7104)
    assert scene.endpoints() == {key: 2}
    first.do("s.close()")
    assert scene.endpoints() == {key: 1}
    second.do("s.close()")
    assert not scene.endpoints()


def test_inherited_descriptors_keep_it(scene):
    """The endpoint goes with the last descriptor."""
    actor = scene.actor()
    actor.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    actor.do("s.bind(('10.9.0.1', 7105))")
    actor.do("t = s.dup()")
    actor.do("s.close()")
    assert len(scene.endpoints()) == 1
    actor.do("t.close()")
    assert not scene.endpoints()


# ---- connections --------------------------------------------------------------------------------

@pytest.mark.parametrize("family,to", [("AF_INET", "10.9.0.2"), ("AF_INET6", "fd00:9::2"),
                                       ("AF_INET6", "::ffff:10.9.0.2")])
def test_a_connection_is_known_until_after_its_end(scene, family, to):
    server, actor = scene.actor("other", scene.b), scene.actor()
    server.do("l = socket.create_server(('::', 7200), family=socket.AF_INET6, dualstack_ipv6=True)")
    actor.do(f"s = socket.socket(socket.{family}, socket.SOCK_STREAM)")
    actor.do(f"s.connect(('{to}', 7200))")
    server.do("s, _ = l.accept()")
    ports = actor.do("s.getsockname()[1]"), 7200
    assert scene.flows()[ports]["tracked"] == 1
    actor.do("s.shutdown(socket.SHUT_WR)")      # this side will be the one in TIME_WAIT
    assert ports in scene.flows()
    server.do("s.close()")
    net.wait_until(lambda: ports not in scene.flows(), "the connection is closed")
    assert scene.flows("app_closed")[ports]["until_ns"]
    sockets_left = scene.a.run("ss", "-Htan", "dport", "=", "7200").stdout
    assert "TIME-WAIT" in sockets_left


@pytest.mark.parametrize("own", ["127.0.0.1", "::1", "10.9.0.1", "::ffff:10.9.0.1", "fd00:9::1"])
def test_a_connection_that_never_leaves_takes_no_place(scene, own):
    """Anybody can have many, and nobody asks whose their packets are."""
    actor = scene.actor()
    actor.do("l = socket.create_server(('::', 7203), family=socket.AF_INET6, dualstack_ipv6=True)")
    actor.do(f"c = socket.create_connection(('{own}', 7203))")
    actor.do("s, _ = l.accept()")
    assert not scene.flows()
    actor.do("c.close()")
    actor.do("s.close()")
    assert not [ports for ports in scene.flows("app_closed") if 7203 in ports]


def test_a_listener_closed_before_its_connection(scene):
    server, client = scene.actor(), scene.actor("other", scene.b)
    server.do("l = socket.create_server(('10.9.0.1', 7201))")
    client.do("s = socket.create_connection(('10.9.0.1', 7201))")
    server.do("s, _ = l.accept()")
    server.do("l.close()")
    assert not scene.endpoints()
    assert [ports[0] for ports in scene.flows()] == [7201]
    client.do("s.close()")
    server.do("s.close()")
    net.wait_until(lambda: not scene.flows(), "the connection is closed")


def test_a_listener_outlives_its_connection(scene):
    """The copy of what is noted of the listener is not the connection's to give back."""
    server, client = scene.actor(), scene.actor("other", scene.b)
    server.do("l = socket.create_server(('10.9.0.1', 7205))")
    before = scene.endpoints()
    client.do("s = socket.create_connection(('10.9.0.1', 7205))")
    server.do("s, _ = l.accept()")
    server.do("s.close()")
    client.do("s.close()")
    net.wait_until(lambda: not scene.flows(), "the connection is closed")
    assert len(before) == 1 and scene.endpoints() == before


def test_a_connection_that_is_never_accepted(scene):
    server, client = scene.actor(), scene.actor("other", scene.b)
    server.do("l = socket.create_server(('10.9.0.1', 7202))")
    client.do("s = socket.create_connection(('10.9.0.1', 7202))")
    net.wait_until(scene.flows, "the connection is established here, too")
    server.do("l.close()")
    net.wait_until(lambda: not scene.flows(), "the connection is reset")


def test_a_connection_that_is_refused(scene):
    actor = scene.actor()
    with pytest.raises(Refused) as refused:
        actor.do("s = socket.create_connection(('10.9.0.2', 7203))")
    assert refused.value.args == (errno.ECONNREFUSED,)
    assert not scene.flows()


def test_as_many_connections_as_the_policy_says(scene):
    server, actor, other = scene.actor("other", scene.b), scene.actor(), scene.actor("other")
    server.do("l = socket.create_server(('10.9.0.2', 7204))")
    before = scene.a.drops("app_full")
    actor.do(f"c = [socket.create_connection(('10.9.0.2', 7204)) for _ in range({FLOWS_MAX})]")
    with pytest.raises(Refused) as refused:
        actor.do("socket.create_connection(('10.9.0.2', 7204))")
    assert refused.value.args == (errno.EPERM,)
    assert scene.a.drops("app_full") == before + 1
    other.do("s = socket.create_connection(('10.9.0.2', 7204))")
    actor.do("c.pop().close()")
    server.do("[l.accept()[0].close() for _ in range(5)] and None")
    net.wait_until(lambda: len(scene.flows()) == FLOWS_MAX - 1, "one connection less")
    actor.do("c.append(socket.create_connection(('10.9.0.2', 7204)))")


def test_what_others_open_leaves_room_to_connect(scene):
    """A quarter of what it may have. One that finds no room works, and is noted when there is."""
    app, remote = scene.actor(), scene.actor("other", scene.b)
    app.do("l = socket.create_server(('10.9.0.1', 7206))")
    remote.do("l = socket.create_server(('10.9.0.2', 7207))")
    remote.do(f"c = [socket.create_connection(('10.9.0.1', 7206)) for _ in range({FLOWS_MAX})]")
    app.do(f"s = [l.accept()[0] for _ in range({FLOWS_MAX})]")
    assert len(scene.flows()) == FLOWS_MAX - 1
    app.do("c = socket.create_connection(('10.9.0.2', 7207))")
    assert len(scene.flows()) == FLOWS_MAX
    last = (7206, remote.do("c[-1].getsockname()[1]"))
    app.do("s[-1].send(b'x')")
    assert remote.do("len(c[-1].recv(9))") == 1
    assert last not in scene.flows()
    for gone in ("s[0]", "s[1]"):
        app.do(f"{gone}.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, bytes([1] + [0] * 7))")
        app.do(f"{gone}.close()")
    app.do("s[-1].send(b'y')")
    assert remote.do("len(c[-1].recv(9))") == 1
    assert scene.flows()[last]["tracked"] and len(scene.flows()) == FLOWS_MAX - 1
    app.do("l.close()")
    app.do("s[-1].close()")
    remote.do("c[-1].close()")
    net.wait_until(lambda: last not in scene.flows(), "its end is told")
    assert last in scene.flows("app_closed")


def test_multipath_tcp_is_refused_to_applications(scene):
    """Its connections are made by the kernel, on sockets that nobody could attribute."""
    app, other = scene.actor(), scene.actor("other")
    make = f"s = socket.socket(socket.AF_INET, socket.SOCK_STREAM, {MPTCP})"
    try:
        other.do(make)
    except Refused as refused:
        pytest.skip(f"no MPTCP in this kernel: {errno.errorcode[refused.args[0]]}")
    with pytest.raises(Refused) as refused:
        app.do(make)
    assert refused.value.args == (errno.EPERM,)


# ---- what was missed ----------------------------------------------------------------------------

def bind_both(actor):
    actor.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    actor.do("s.bind(('10.9.0.1', 7300))")
    actor.do("l = socket.create_server(('10.9.0.1', 7301))")


def test_sockets_of_a_trial_are_noted_when_it_is_undone(fresh):
    """The policy on trial did not take them for an application's."""
    fresh.attach(fresh.policy())
    fresh.a.ipsecbpf("policy", "apply", net.IFNAME, "-", "--confirm", "60",
                     input=json.dumps(document()))
    bind_both(fresh.actor())
    assert not fresh.endpoints()
    fresh.a.ipsecbpf("policy", "confirm", net.IFNAME, "--undo")
    assert len(fresh.endpoints()) == 2


def test_sockets_of_a_trial_are_noted_when_it_runs_out(fresh):
    """By nobody's command."""
    fresh.attach(fresh.policy())
    fresh.a.ipsecbpf("policy", "apply", net.IFNAME, "-", "--confirm", "2",
                     input=json.dumps(document()))
    bind_both(fresh.actor())
    assert not fresh.endpoints()
    net.wait_until(lambda: fresh.a.status()["confirm_left"] is None, "the end of the trial", 10)
    net.wait_until(lambda: len(fresh.endpoints()) == 2, "both are noted", 10)


def test_sockets_of_a_trial_are_noted_before_its_end(fresh):
    """What the supervisor has run a second before it: no packet of theirs is anybody else's."""
    fresh.attach(fresh.policy())
    fresh.a.ipsecbpf("policy", "apply", net.IFNAME, "-", "--confirm", "60",
                     input=json.dumps(document()))
    bind_both(fresh.actor())
    fresh.a.ipsecbpf("app", "mend", net.IFNAME)
    assert len(fresh.endpoints()) == 2 and fresh.a.status()["confirm_left"]


def test_sockets_made_while_the_hooks_were_off(fresh):
    """The same policy once more puts the hooks back, and notes what they have missed."""
    fresh.attach(fresh.policy())
    directory = os.path.join(net.PIN_ROOT, fresh.a.key, "links")
    for name in os.listdir(directory):
        if name.startswith("sock_"):
            net.run_command(["/usr/sbin/bpftool", "link", "detach", "pinned",
                             os.path.join(directory, name)])
    bind_both(fresh.actor())
    fresh.a.ipsecbpf("policy", "apply", net.IFNAME, "-", input=json.dumps(fresh.policy()))
    assert fresh.a.status()["socket_hooks"]["attached"] == fresh.a.status()["socket_hooks"]["of"]
    assert len(fresh.endpoints()) == 2


def test_the_same_policy_when_an_executable_came_later(fresh, tmp_path):
    """What it stands for is looked up again: it is not in force already."""
    program = tmp_path / "program"
    policy = document({"name": "x", "match": {"executable": str(program)},
                       "networks": [{"remote": "any", "class": "trusted"}]})
    fresh.attach(policy)
    program.symlink_to(os.path.realpath(sockets.PYTHON))
    fresh.a.ipsecbpf("policy", "apply", net.IFNAME, "-", input=json.dumps(policy))
    bind_both(fresh.actor("app", python=str(program)))
    assert len(fresh.endpoints()) == 2
