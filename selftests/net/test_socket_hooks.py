# SPDX-License-Identifier: BSD-2-Clause
"""The socket hooks themselves: when they come and go, what stops them, and the guard before sockets."""
import contextlib
import fcntl
import json
import os

import pytest

import sockets
import topology as net
from foreign_programs import Exclusive, TakingFlags, marking
from sockets import Refused, document, trusted

HOOKS = 12
SECOND = "eth1"
MARK = 0xe5000000


def links(scene):
    return sum(name.startswith("sock_")
               for name in os.listdir(os.path.join(net.PIN_ROOT, scene.a.key, "links")))


def apply(scene, policy, check=True):
    return scene.a.ipsecbpf("policy", "apply", net.IFNAME, "-", input=json.dumps(policy), check=check)


def programs(cgroup):
    text = net.run_command(["/usr/sbin/bpftool", "-j", "cgroup", "show", cgroup]).stdout
    return json.loads(text.strip() or "[]")


# ---- coming and going ---------------------------------------------------------------------------

def test_they_come_with_the_first_policy_that_needs_them(fresh):
    fresh.attach(document())
    assert links(fresh) == 0 and not programs(fresh.cgroup.top)
    assert "socket hooks" not in fresh.a.ipsecbpf("status", net.IFNAME).stdout
    apply(fresh, fresh.policy())
    assert links(fresh) == HOOKS and len(programs(fresh.cgroup.top)) == HOOKS
    assert f"socket hooks  {HOOKS} of {HOOKS} at {fresh.cgroup.top}" in \
        fresh.a.ipsecbpf("status", net.IFNAME).stdout
    assert fresh.a.status()["socket_hooks"] == \
        {"attached": HOOKS, "of": HOOKS, "cgroup": fresh.cgroup.top}
    apply(fresh, document())
    assert links(fresh) == HOOKS        # they stay


def test_detach_leaves_them_and_open_does_not(fresh):
    fresh.attach(fresh.policy())
    fresh.a.ipsecbpf("detach", net.IFNAME)
    assert links(fresh) == HOOKS and len(programs(fresh.cgroup.top)) == HOOKS
    fresh.a.ipsecbpf("detach", net.IFNAME, "--open")
    assert not fresh.a.attached() and not programs(fresh.cgroup.top)


def test_an_attach_over_a_guard_takes_them_over(fresh):
    """None is doubled, and they write the new attachment's maps."""
    fresh.attach(fresh.policy())
    fresh.a.ipsecbpf("detach", net.IFNAME)
    fresh.attach(fresh.policy())
    assert len(programs(fresh.cgroup.top)) == HOOKS
    actor = fresh.actor()
    actor.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    actor.do("s.bind(('10.9.0.1', 7300))")
    assert len(fresh.endpoints()) == 1


def test_a_guards_go_where_no_policy_needs_them(fresh):
    fresh.attach(fresh.policy())
    fresh.a.ipsecbpf("detach", net.IFNAME)
    fresh.attach(document())
    assert links(fresh) == 0 and not programs(fresh.cgroup.top)


# ---- what they do not reach ---------------------------------------------------------------------

def warnings(answer):
    return [line for line in answer.stderr.splitlines() if line.startswith("warning")]


def test_a_device_above_is_warned_of(fresh):    # noqa: F811
    """Only where the policy names applications."""
    fresh.attach(fresh.policy())
    assert not warnings(apply(fresh, fresh.policy()))
    fresh.a.ip("link", "add", "mac0", "link", net.IFNAME, "type", "macvlan")
    warning, = warnings(apply(fresh, fresh.policy()))
    assert "mac0 lies above it" in warning
    assert not warnings(apply(fresh, document()))


def test_another_attachment_is_warned_of(fresh):    # noqa: F811
    """By attach as by apply, and by preflight."""
    second_wire(fresh)
    fresh.attach(fresh.policy())
    answer = fresh.a.ipsecbpf("attach", SECOND, "--cgroup", fresh.cgroup.top, "--policy", "-",
                              input=json.dumps(fresh.policy()))
    try:
        assert any(f"{net.IFNAME} is attached beside it" in line for line in warnings(answer))
        warning, = warnings(apply(fresh, fresh.policy()))
        assert f"{SECOND} is attached beside it" in warning
        checks = json.loads(fresh.a.run(net.IPSECBPF, "-j", "preflight", net.IFNAME,
                                        check=False).stdout)["checks"]
        assert checks["applications"]["finding"].startswith(f"{SECOND} is attached beside it")
    finally:
        fresh.a.ipsecbpf("detach", SECOND, "--open")


@pytest.mark.parametrize("match,warned", [
    ([{"cgroup": "{}/app"}], False), ([{"cgroup": "{}"}], False), ([{"cgroup": "{}x"}], True),
    ([{"cgroup": "/elsewhere"}], True), ([{"user": "root"}], True),
    ([{"cgroup": "{}/app"}, {"unit": "x.service"}], True)],
    ids=["below", "the same", "beside", "elsewhere", "user", "unit"])
def test_programs_outside_of_the_cgroup_are_warned_of(fresh, match, warned):    # noqa: F811
    name = fresh.cgroup.path()
    app = trusted("app", "")
    app["match"] = [{key: value.format(name) for key, value in one.items()} for one in match]
    fresh.attach(document())
    said = [line for line in warnings(apply(fresh, document(app))) if fresh.cgroup.top in line]
    assert len(said) == warned and ('"app"' in "".join(said)) == warned


# ---- what stops them ----------------------------------------------------------------------------

@pytest.mark.parametrize("where", ["", "above"])
def test_a_hook_that_is_held_exclusively(fresh, where):
    top = fresh.cgroup.top
    inner = fresh.cgroup.add("inner") if where else top
    holder = Exclusive(top)
    try:
        fresh.a.ipsecbpf("attach", net.IFNAME, "--cgroup", inner, "--policy", "-",
                         input=json.dumps(document()))
        answer = apply(fresh, fresh.policy(), check=False)
        assert answer.returncode == 1
        assert "sock_connect4" in answer.stderr and "holds the hook for itself alone" in answer.stderr
        assert f"bpftool cgroup show {top}" in answer.stderr
        assert links(fresh) == 0 and len(programs(top)) == 1
        assert fresh.a.status()["policy_serial"] == 1
    finally:
        holder.close()
    apply(fresh, fresh.policy())
    assert links(fresh) == HOOKS


def test_an_attach_that_fails_leaves_none(fresh):
    holder = Exclusive(fresh.cgroup.top)
    try:
        with pytest.raises(net.Failure, match="holds the hook for itself alone"):
            fresh.attach(fresh.policy())
        assert not fresh.a.attached() and len(programs(fresh.cgroup.top)) == 1
    finally:
        holder.close()


def test_a_cgroup_that_was_removed(fresh):
    gone = fresh.cgroup.add("gone")
    fresh.a.ipsecbpf("attach", net.IFNAME, "--cgroup", gone, "--policy", "-",
                     input=json.dumps(fresh.policy()))
    os.rmdir(gone)
    net.wait_until(lambda: fresh.a.status()["socket_hooks"]["attached"] == 0, "the hooks are off")
    assert "socket hooks are attached" in fresh.a.ipsecbpf("status", net.IFNAME).stdout
    more = document(trusted("app", fresh.cgroup.path("app")), trusted("b", "/b"))
    answer = apply(fresh, more, check=False)
    assert answer.returncode == 1 and gone in answer.stderr and "--cgroup DIR" in answer.stderr
    os.mkdir(gone)      # by the same name, but another
    apply(fresh, more)
    assert fresh.a.status()["socket_hooks"]["attached"] == HOOKS


# ---- the supervisor looks after them ------------------------------------------------------------

def take_off(scene, *hooks):
    """As an administrator's bpftool would, or another product; all of them if none is named."""
    directory = os.path.join(net.PIN_ROOT, scene.a.key, "links")
    for name in hooks or [name for name in os.listdir(directory) if name.startswith("sock_")]:
        net.run_command(["/usr/sbin/bpftool", "link", "detach", "pinned",
                         os.path.join(directory, name)])


def wait_state(scene, state, attached, patience=10):
    def reached():
        status = scene.a.status()
        return status["state"] == state and status["socket_hooks"]["attached"] == attached
    net.wait_until(reached, f"state {state}, {attached} hooks attached", patience)


def wait_hooks(scene, patience=20):
    wait_state(scene, "running", HOOKS, patience)


def wait_endpoints(scene, count):
    net.wait_until(lambda: len(scene.endpoints()) == count, f"{count} endpoints", 10)


def bind(actor, port=7300):
    actor.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    actor.do(f"s.bind(('10.9.0.1', {port}))")


@pytest.mark.parametrize("hooks", [(), ("sock_guard",), ("sock_bound4", "sock_release")],
                         ids=["all", "the guard", "two"])
def test_what_was_taken_off_comes_back(fresh, hooks):   # noqa: F811
    """By itself, and what was bound meanwhile is noted."""
    fresh.attach(fresh.policy())
    actor = fresh.actor()
    take_off(fresh, *hooks)
    bind(actor)
    wait_hooks(fresh)
    assert links(fresh) == HOOKS and len(programs(fresh.cgroup.top)) == HOOKS
    wait_endpoints(fresh, 1)
    assert not [item for item in fresh.a.status()["problems"] if "hooks" in item["cause"]]
    bind(fresh.actor(), 7301)
    assert len(fresh.endpoints()) == 2


def test_hooks_whose_pins_were_removed_come_back(fresh):    # noqa: F811
    fresh.attach(fresh.policy())
    directory = os.path.join(net.PIN_ROOT, fresh.a.key, "links")
    for name in os.listdir(directory):
        if name.startswith("sock_"):
            os.unlink(os.path.join(directory, name))
    wait_hooks(fresh)
    assert len(programs(fresh.cgroup.top)) == HOOKS


@contextlib.contextmanager
def hindered(scene):
    """A hook is off and cannot be put back: somebody above has it for himself."""
    inner = scene.cgroup.add("inner")
    scene.a.ipsecbpf("attach", net.IFNAME, "--cgroup", inner, "--policy", "-",
                     input=json.dumps(document(trusted("app", scene.cgroup.path("inner/app")))))
    holder = Exclusive(scene.cgroup.top)
    try:
        take_off(scene, "sock_connect4")
        wait_state(scene, "blocked", HOOKS - 1)
        yield
    finally:
        holder.close()


def test_nothing_passes_while_they_cannot_be_put_back(fresh):   # noqa: F811
    """A socket made now is nobody's, and what it sends must not go in the clear; nobody knows which."""
    listener = listen(fresh, "other")
    with hindered(fresh):
        before = fresh.a.drops("no_policy")
        say(fresh, "10.9.0.1")
        fresh.a.wait_drop("no_policy", before)
        causes = [item["cause"] for item in fresh.a.status()["problems"]]
        assert any("only essential traffic passes" in cause and "hooks" in cause for cause in causes)
        told = fresh.a.ipsecbpf("metrics").stdout
        assert f'ipsecbpf_socket_hooks_attached{{interface="{net.IFNAME}"}} {HOOKS - 1}\n' in told
        assert f'ipsecbpf_socket_hooks{{interface="{net.IFNAME}"}} {HOOKS}\n' in told
        app = fresh.actor("inner/app")
        bind(app)
        refused = fresh.a.ipsecbpf("app", "mend", net.IFNAME, check=False)
        assert refused.returncode == 1 and "holds the hook for itself alone" in refused.stderr
        assert fresh.a.status()["state"] == "blocked"
    wait_hooks(fresh)
    wait_endpoints(fresh, 1)
    say(fresh, "10.9.0.1")
    assert heard(listener) == 1
    fresh.end(app)


def test_lost_again_at_once(fresh):     # noqa: F811
    """Before the supervisor has seen that they were back."""
    with hindered(fresh):
        pass
    fresh.a.ipsecbpf("app", "mend", net.IFNAME)
    with contextlib.closing(Exclusive(fresh.cgroup.top)):
        take_off(fresh, "sock_connect4")
        wait_state(fresh, "blocked", HOOKS - 1)


def test_who_keeps_the_lock_does_not_put_it_off(fresh):     # noqa: F811
    """A command that was stopped, say, while it was changing the attachment."""
    fresh.attach(fresh.policy())
    with open(os.path.join(net.RUN_ROOT, fresh.a.key + ".lock"), "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        take_off(fresh, "sock_connect4")
        wait_state(fresh, "blocked", HOOKS - 1)
    wait_hooks(fresh)


def test_a_policy_that_needs_none_ends_the_block(fresh):    # noqa: F811
    with hindered(fresh):
        apply(fresh, document())
        assert fresh.a.status()["state"] == "running"
        assert apply(fresh, fresh.policy(), check=False).returncode == 1
        fresh.a.ipsecbpf("app", "mend", net.IFNAME)
        assert fresh.a.status()["state"] == "running"


def test_a_detach_while_they_are_off(fresh):    # noqa: F811
    """It stays closed; what is put right then is a guard, not an attachment at work."""
    with hindered(fresh):
        fresh.a.ipsecbpf("detach", net.IFNAME)
        assert fresh.a.status()["state"] == "blocked"
        before = fresh.a.drops("no_policy")
        say(fresh, "10.9.0.1")
        fresh.a.wait_drop("no_policy", before)
    fresh.a.ipsecbpf("app", "mend", net.IFNAME)
    wait_state(fresh, "guard", HOOKS)
    listener = listen(fresh, "other")
    say(fresh, "10.9.0.1")
    assert heard(listener) == 1


def test_a_cgroup_that_is_made_again(fresh):    # noqa: F811
    """As of a service that is restarted. Nobody is in a cgroup that is gone: nothing is blocked."""
    again = fresh.cgroup.add("again")
    fresh.a.ipsecbpf("attach", net.IFNAME, "--cgroup", again, "--policy", "-",
                     input=json.dumps(document(trusted("app", fresh.cgroup.path("again/app")))))
    os.rmdir(again)
    wait_state(fresh, "running", 0)
    listener, told = listen(fresh, "other"), fresh.a.ipsecbpf("app", "mend", net.IFNAME).stdout
    assert "the cgroup of the socket hooks is gone" in told
    say(fresh, "10.9.0.1")
    assert heard(listener) == 1
    os.mkdir(again)
    actor = fresh.actor("again/app")
    bind(actor, 7401)
    wait_hooks(fresh)
    wait_endpoints(fresh, 1)
    fresh.end(actor)


def test_another_cgroup_in_its_place(fresh):    # noqa: F811
    """The old one's hooks are there as long as a socket of it is open; the new one has none."""
    again = fresh.cgroup.add("again")
    fresh.a.ipsecbpf("attach", net.IFNAME, "--cgroup", again, "--policy", "-",
                     input=json.dumps(document(trusted("app", fresh.cgroup.path("again/app")))))
    old = fresh.actor("again")
    bind(old, 7401)
    with open(os.path.join(fresh.cgroup.top, "cgroup.procs"), "w") as file:
        file.write(str(old.pid))
    os.rmdir(again)
    assert fresh.a.status()["socket_hooks"]["attached"] == HOOKS
    os.mkdir(again)
    wait_hooks(fresh)
    actor = fresh.actor("again/app")
    bind(actor)
    wait_endpoints(fresh, 1)
    fresh.end(actor)


@pytest.mark.parametrize("directory,cause", [("/tmp", "is not a directory of cgroup2"),
                                             ("/nowhere", "No such file or directory")])
def test_a_wrong_cgroup_is_refused_at_once(fresh, directory, cause):
    answer = fresh.a.ipsecbpf("attach", net.IFNAME, "--cgroup", directory, check=False)
    assert answer.returncode == 1 and cause in answer.stderr
    assert not fresh.a.attached()


def test_a_connection_whose_end_is_not_told(fresh):     # noqa: F811
    """Another program at sockops has its way with the flags: it ends with the last descriptor then."""
    fresh.attach(fresh.policy())
    other = TakingFlags(fresh.cgroup.top)
    try:
        server, app = fresh.actor("other", fresh.b), fresh.actor()
        server.do("l = socket.create_server(('10.9.0.2', 7208))")
        app.do("s = socket.create_connection(('10.9.0.2', 7208))")
        ports, = fresh.flows()
        assert fresh.flows()[ports]["tracked"]
        app.do("s.close()")
        assert not fresh.flows() and ports in fresh.flows("app_closed")
    finally:
        other.close()


# ---- the guard ----------------------------------------------------------------------------------

def second_wire(scene):
    a, b = scene.a, scene.b
    net.run_command(["ip", "link", "add", SECOND, "netns", a.netns, "type", "veth", "peer", "name",
                     SECOND, "netns", b.netns])
    for host, last in ((a, 1), (b, 2)):
        host.ip("addr", "add", f"10.10.0.{last}/24", "dev", SECOND)
        host.ip("link", "set", SECOND, "up")


@pytest.fixture
def guarded(fresh):
    """The application is to be protected towards b; a second wire is not attached."""
    second_wire(fresh)
    secret = trusted("app", fresh.cgroup.path("app"))
    secret["networks"] = [
        {"remote": ["10.9.0.0/24", "10.10.0.0/24"], "class": "protected",
         "protect": [{"protection": "wire", "peer": "b"}]}]
    fresh.attach(net.policy([{"name": "all", "action": "bypass"}], applications=[secret],
                            peers={"b": ["10.9.0.2", "10.10.0.2"]}, protections={"wire": {}}))
    return fresh


def listen(scene, where):
    actor = scene.actor(where)
    actor.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    actor.do("s.bind(('', 7400))")
    actor.do("s.settimeout(5)")
    return actor


def say(scene, to, port=7400, octets=1):
    sender = scene.actor("other", scene.b)
    sender.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    sender.do(f"s.sendto(b'x' * {octets}, ('{to}', {port}))")
    scene.end(sender)


def test_what_comes_another_way_is_not_verified(guarded):
    """Clear text on an interface without hooks: the application does not get it, others do."""
    app = listen(guarded, "app")
    before = guarded.a.drops("unverified")
    say(guarded, "10.10.0.1")
    guarded.a.wait_drop("unverified", before)
    guarded.end(app)
    other = listen(guarded, "other")
    say(guarded, "10.10.0.1")
    assert other.do("len(s.recv(10))") == 1


def heard(actor, name="s"):
    """The length of a datagram, or None where none comes."""
    try:
        return actor.do(f"len({name}.recv(10))")
    except Refused:
        return None


def test_host_rules_do_not_hold_elsewhere(fresh):
    """What comes another way and no rule of the application's own is about is as it were without."""
    second_wire(fresh)
    app = trusted("app", fresh.cgroup.path("app"))
    app["networks"] = [{"remote": "10.9.0.0/24", "class": "trusted"}]
    fresh.attach(net.policy([{"name": "out", "direction": "out", "action": "bypass"}],
                            applications=[app]))
    listener = listen(fresh, "app")
    say(fresh, "10.10.0.1")
    assert heard(listener) == 1


def open_application(scene):
    """The host's rules let nothing in but what hosts say by themselves, the application's everything."""
    scene.attach(net.policy([{"name": "out", "direction": "out", "action": "bypass"},
                             {"name": "noise", "direction": "in", "protocol": ["icmpv6", "igmp"],
                              "action": "bypass"}],
                            applications=[trusted("app", scene.cgroup.path("app"))]))


def test_who_shares_a_port_is_not_opened(fresh):
    """SO_REUSEADDR: the last to be bound gets the datagrams."""
    open_application(fresh)
    app, other = fresh.actor(uid=12345, gid=12345), fresh.actor("other")
    for actor in (app, other):
        actor.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
        actor.do("s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)")
        actor.do("s.bind(('', 7400))")
        actor.do("s.settimeout(5)")
    before = fresh.a.drops("policy_discard")
    say(fresh, "10.9.0.1")
    fresh.a.wait_drop("policy_discard", before)
    other.do("s.close()")
    say(fresh, "10.9.0.1")
    assert heard(app) == 1


def test_who_shares_a_port_has_the_hosts_rules(fresh):
    fresh.attach(fresh.policy())
    app, other = fresh.actor(), fresh.actor("other")
    for actor in (app, other):
        actor.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
        actor.do("s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)")
        actor.do("s.bind(('', 7400))")
        actor.do("s.settimeout(5)")
    say(fresh, "10.9.0.1")
    assert heard(other) == 1


def test_who_gets_a_port_after_an_application_is_not_opened(fresh):
    """connect() to AF_UNSPEC gives a port back; that it was the application's is known still."""
    open_application(fresh)
    app, other = fresh.actor(), fresh.actor("other")
    app.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    app.do("s.sendto(b'x', ('10.9.0.2', 9))")
    port = app.do("s.getsockname()[1]")
    app.do("import ctypes")
    assert app.do("ctypes.CDLL(None).connect(s.fileno(), b'\\0' * 16, 16)") == 0
    other.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    other.do(f"s.bind(('', {port}))")
    before = fresh.a.drops("policy_discard")
    say(fresh, "10.9.0.1", port)
    fresh.a.wait_drop("policy_discard", before)


def reassembled(host):
    """Fragments that reached the stack."""
    names, values = [line.split() for line in host.run("cat", "/proc/net/snmp").stdout.splitlines()
                     if line.startswith("Ip:")]
    return int(values[names.index("ReasmReqds")])


def test_later_fragments_in_the_clear_are_not_let_in(guarded):
    """They show no port: by the host's rules alone they would be."""
    listen(guarded, "app")
    before, dropped = reassembled(guarded.a), guarded.a.drops("clear_text")
    say(guarded, "10.9.0.1", octets=4000)
    net.wait_until(lambda: guarded.a.drops("clear_text") == dropped + 3, "all three are dropped")
    assert reassembled(guarded.a) == before
    other = guarded.actor("other")
    other.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    other.do("s.bind(('', 7401))")
    other.do("s.settimeout(5)")
    say(guarded, "10.9.0.1", 7401, octets=4000)
    assert other.do("len(s.recv(5000))") == 4000


def test_the_mark_alone_is_not_enough(guarded):
    """Somebody marks packets of another interface as verified."""
    listen(guarded, "app")
    before = guarded.a.drops("unverified")
    with marking(guarded.a, SECOND, MARK):
        say(guarded, "10.10.0.1")
        guarded.a.wait_drop("unverified", before)


def test_this_host_may_speak_to_itself(guarded):
    app, other = listen(guarded, "app"), guarded.actor("other")
    other.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    for to in ("127.0.0.1", "10.9.0.1"):
        other.do(f"s.sendto(b'x', ('{to}', 7400))")
        assert app.do("len(s.recv(10))") == 1


def test_verified_packets_pass(guarded):
    """Both hosts protect; b without applications."""
    a, b = guarded.a, guarded.b
    sas = json.dumps(net.both_ways(a, b, families=(4,)))
    b.ipsecbpf("attach", net.IFNAME, "--policy", "-",
               input=json.dumps(net.policy([{"name": "b", "action": "protect", "peer": "a",
                                             "protection": "wire"}],
                                           {"a": ["10.9.0.1"]}, {"wire": {}})))
    for host in (a, b):
        host.ipsecbpf("sa", "apply", net.IFNAME, "-", "--fresh", input=sas)
    app = listen(guarded, "app")
    say(guarded, "10.9.0.1")
    assert app.do("len(s.recv(10))") == 1
    assert a.drops("unverified") == 0


# ---- an attach over a guard ---------------------------------------------------------------------

def sends_in_clear(scene, receiver):
    """Does a socket made just now get through to b, whose receiver waits for little?"""
    sender = scene.actor("app")
    sender.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    with contextlib.suppress(sockets.Refused):
        sender.do("s.connect(('10.9.0.2', 7400))")
        sender.do("s.send(b'secret')")
    scene.end(sender)
    with contextlib.suppress(sockets.Refused):
        return receiver.do("len(s.recv(10))") > 0
    return False


def test_an_attach_over_a_guard_that_fails_changes_nothing(guarded):
    """Its socket hooks note what the guard reads: none may be moved to maps that nothing else reads."""
    policy = guarded.a.ipsecbpf("policy", "show", net.IFNAME).stdout
    receiver = guarded.actor("other", guarded.b)
    receiver.do("s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    receiver.do("s.bind(('', 7400))")
    receiver.do("s.settimeout(2)")
    guarded.a.ipsecbpf("detach", net.IFNAME)
    assert not sends_in_clear(guarded, receiver)
    net.run_command(["/usr/sbin/bpftool", "link", "detach", "pinned",
                     os.path.join(net.PIN_ROOT, guarded.a.key, "links", "sock_connect4")])
    holder = Exclusive(guarded.cgroup.top)
    try:
        answer = guarded.a.ipsecbpf("attach", net.IFNAME, "--cgroup", guarded.cgroup.top, "--policy",
                                    "-", input=policy, check=False)
        assert answer.returncode == 1 and "holds the hook for itself alone" in answer.stderr
        assert len(programs(guarded.cgroup.top)) == HOOKS
        assert not sends_in_clear(guarded, receiver)
    finally:
        holder.close()
    guarded.a.ipsecbpf("attach", net.IFNAME, "--cgroup", guarded.cgroup.top, "--policy", "-",
                       input=policy)
    assert links(guarded) == HOOKS and len(programs(guarded.cgroup.top)) == HOOKS
    assert not sends_in_clear(guarded, receiver)
