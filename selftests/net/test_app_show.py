# SPDX-License-Identifier: BSD-2-Clause
"""What the command line says of applications, and sockets that are older than their policy."""
import json
import os
import pwd
import subprocess

import pytest

import sockets
import topology as net
from metrics_reader import PORT as METRICS_PORT, Listener, scrape
from applications import connect, listen
from sockets import PYTHON, document

A, B = "10.9.0.1", "10.9.0.2"
UID = 12345
PORT, OTHER_PORT = 7001, 7002


def policy(scene):
    """`app` may talk to b only; `python` is whatever else runs there as a user; `unit` has no cgroup."""
    return document(
        {"name": "app", "match": {"cgroup": scene.cgroup.path("app")},
         "networks": [{"remote": B, "class": "trusted"}, {"remote": "any", "class": "untrusted"}]},
        {"name": "python", "match": [{"user": UID, "executable": PYTHON}, {"user": UID}],
         "networks": [{"remote": "any", "class": "trusted"}]},
        {"name": "unit", "match": {"unit": "x.service"},
         "networks": [{"remote": "any", "class": "trusted"}]},
        {"name": "demanding", "match": {"cgroup": scene.cgroup.path("demanding"), "user": UID},
         "networks": [{"remote": "any", "class": "untrusted"}]})


@pytest.fixture(scope="module")
def attached(product):
    with sockets.scene() as scene:
        scene.attach(policy(scene))
        yield scene


def rows(scene, *args):
    return scene.a.json("app", "sockets", net.IFNAME, *args)["sockets"]


def one_row(scene, actor, **values):
    found = [row for row in rows(scene) if row["pid"] == actor.pid and values.items() <= row.items()]
    assert len(found) == 1, found
    return found[0]


def listed(scene, name="app"):
    told = scene.a.json("app", "list", net.IFNAME)["applications"]
    return next(app for app in told if app["name"] == name)


def at_b(scene):
    """A server there, which is no application's."""
    actor = scene.actor("other", host=scene.b)
    listen(actor, PORT)
    return actor


# ---- identify -----------------------------------------------------------------------------------

def identify(scene, *args):
    return scene.a.json("app", "identify", net.IFNAME, *args)


def test_identify_a_process(scene):
    actor = scene.actor(uid=UID, gid=UID)
    told = identify(scene, "--pid", actor.pid)
    assert (told["application"], told["by"]["match_index"]) == ("app", 0)
    assert (told["cgroup"], told["executable"]) == (scene.cgroup.path("app"), PYTHON)
    assert (told["user"], told["group"]) == (UID, UID)
    assert [(lost["application"], lost["match_index"], lost["because"]) for lost in told["also_matches"]] == \
        [("python", 0, "it names no cgroup"), ("python", 1, "it names no cgroup")]
    elsewhere = scene.actor("other", uid=UID)
    told = identify(scene, "--pid", elsewhere.pid)
    assert (told["application"], told["by"]["match_index"]) == ("python", 0)
    assert [lost["because"] for lost in told["also_matches"]] == ["it names no executable"]
    assert identify(scene, "--pid", scene.actor("other").pid)["application"] is None


def test_identify_says_what_the_hooks_note(scene):
    """The same from /proc as from the kernel's structures, and by the policy in force."""
    for where, user in (("app", 0), ("other", UID), ("other", 0), ("app/deeper", UID)):
        actor = scene.actor(where, uid=user)
        actor.do("s = socket.socket()")
        listen(actor, 0)
        told = identify(scene, "--pid", actor.pid)["application"]
        assert one_row(scene, actor, listening=True)["application"] == told


@pytest.mark.parametrize("args, expected", [
    (["--user", UID], "python"), (["--exe", "/usr/bin/true"], None), (["--user", 1], None),
    (["--cgroup", "/system.slice/x.service/child"], "unit"),
    (["--cgroup", "/system.slice/x.service", "--user", UID], "unit"),
])
def test_identify_somebody_made_up(scene, args, expected):
    assert identify(scene, *args)["application"] == expected


def test_identify_as_text(scene):
    text = scene.a.ipsecbpf("app", "identify", net.IFNAME, "--cgroup", scene.cgroup.path("app"),
                            "--user", UID).stdout
    assert [line.split(None, 1) for line in text.splitlines()] == [
        ["cgroup", scene.cgroup.path("app")], ["executable", "unknown"], ["user", str(UID)],
        ["group", "unknown"], ["application", "app"],
        ["by", f"match[0] cgroup {scene.cgroup.path('app')}"],
        ["also", f"matches  python, match[1] user {UID}: it names no cgroup"]]


def test_identify_nobody(scene):
    done = scene.a.ipsecbpf("app", "identify", net.IFNAME, "--pid", 2 ** 22 + 1, check=False)
    assert (done.returncode, "there is none" in done.stderr) == (1, True)


# ---- sockets and list ---------------------------------------------------------------------------

def test_sockets_and_what_they_send(scene):
    server, actor, other = at_b(scene), scene.actor(), scene.actor("other")
    listen(actor, OTHER_PORT)
    connect(actor, B, PORT)
    connect(other, B, PORT)
    row = one_row(scene, actor, listening=False)
    assert (row["application"], row["program"], row["protocol"], row["noted"]) == \
        ("app", os.path.basename(PYTHON), "tcp", True)
    assert row["remote"] == {"address": B, "port": PORT} and row["local"]["address"] == A
    assert row["decision"] == "bypass" and row["policy"]["name"] == "app/1"
    row = one_row(scene, actor, listening=True)
    assert row["local"] == {"address": "0.0.0.0", "port": OTHER_PORT}
    assert (row["remote"], row["decision"], row["policy"], row["sas"]) == (None, None, None, [])
    row = one_row(scene, other)
    assert row["application"] is None and row["policy"]["name"] == "all"
    assert {row["application"] for row in rows(scene)} == {"app", None}
    assert {row["pid"] for row in rows(scene, "--app", "app")} == {actor.pid}
    assert rows(scene, "--app", "unit") == []
    text = scene.a.ipsecbpf("app", "sockets", net.IFNAME).stdout.splitlines()
    assert text[0].split()[:3] == ["application", "pid", "program"]
    assert text[1].split()[0] == "app" and text[-1].split()[0] == "-"
    assert server.pid not in {row["pid"] for row in rows(scene)}, "of another network namespace"


def test_unknown_application(scene):
    done = scene.a.ipsecbpf("app", "sockets", net.IFNAME, "--app", "ap", check=False)
    assert done.returncode == 1 and 'did you mean "app"?' in done.stderr


def test_list_counts(scene):
    before = listed(scene)
    server, actor = at_b(scene), scene.actor()
    connect(actor, B, PORT)
    actor.do("u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    actor.do("u.bind(('0.0.0.0', 7005))")
    actor.do(f"u.sendto(b'x', ({B!r}, 7006))")
    actor.do("u.sendto(b'x', ('10.9.0.99', 7006))")     # untrusted
    after = listed(scene)
    assert (after["sockets"], after["connections"], after["endpoints"]) == (2, 1, 1)
    assert after["clear"]["packets"] >= before["clear"]["packets"] + 3
    assert after["protected"] == {"packets": 0, "bytes": 0}
    assert scrape(scene.a).one("app_connections", application="app") == 1
    assert scrape(scene.a).one("app_endpoints", application="app") == 1
    told = listed(scene)["clear"]
    assert scrape(scene.a).one("app_packets_total", application="app", **{"class": "clear"}) >= \
        told["packets"]
    assert scrape(scene.a).one("apps_left_out") == 0
    assert scrape(scene.a, "--apps", 1).one("apps_left_out") == 3
    scene.end(server)


def test_metrics_are_served_without_looking_into_processes(scene):
    served = Listener(scene.a, "--listen", METRICS_PORT)
    try:
        listen(scene.actor(), OTHER_PORT)
        assert served.scrape().one("app_endpoints", application="app") == 1
        assert {key for key, _ in served.scrape().samples} == \
            {key for key, _ in scrape(scene.a).samples}
    finally:
        served.stop()


def test_metrics_follow_the_policy(fresh):
    """The listener reads a policy once; another one it notices."""
    def of(name, flows):
        return document({"name": name, "match": {"cgroup": fresh.cgroup.path(name)}, "max_flows": flows,
                         "networks": [{"remote": "any", "class": "trusted"}]})

    def told():
        return {dict(labels)["application"]: value for (key, labels), value in
                served.scrape().samples.items() if key.endswith("app_max_flows")}

    fresh.attach(of("first", 7))
    served = Listener(fresh.a, "--listen", METRICS_PORT)
    try:
        assert told() == {"first": 7}
        fresh.a.ipsecbpf("policy", "apply", net.IFNAME, fresh.topology.write("second.json", of("second", 8)))
        net.wait_until(lambda: told() == {"second": 8}, "the listener tells of the other policy")
    finally:
        served.stop()


def test_list_counts_what_is_dropped(scene):
    scene.a.neighbour("10.9.0.99", "02:00:00:00:00:99")
    actor, before = scene.actor(), listed(scene)["dropped"]["packets"]
    actor.do("u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    actor.do("u.setblocking(False)")
    for _ in range(3):
        try:
            actor.do("u.sendto(b'x', ('10.9.0.99', 7006))")
        except sockets.Refused:
            pass
    assert listed(scene)["dropped"]["packets"] == before + 3


# ---- explain and monitor ------------------------------------------------------------------------

def test_explain_as_an_application(scene):
    def decided(*args):
        return scene.a.json("explain", net.IFNAME, A, "10.9.0.99", "tcp", 80, *args)["packet"]

    assert (decided()["decision"], decided()["application"]) == ("bypass", None)
    told = decided("--app", "app")
    assert (told["decision"], told["application"]) == ("drop", "app")
    assert told["policy"]["name"] == "app/2"
    text = scene.a.ipsecbpf("explain", net.IFNAME, A, "10.9.0.99", "tcp", 80, "--app", "app").stdout
    assert 'rule "app/2" of application "app"' in text
    done = scene.a.ipsecbpf("explain", net.IFNAME, A, B, "--app", "nobody", check=False)
    assert (done.returncode, 'no application "nobody"' in done.stderr) == (1, True)


def test_explain_a_process(scene):
    at_b(scene)
    for where, name, rule in (("app", "app", "app/1"), ("other", None, "all")):
        actor = scene.actor(where)
        connect(actor, B, PORT)
        told, = scene.a.json("explain", net.IFNAME, "--pid", actor.pid)["sockets"]
        assert told["packet"]["application"] == name
        assert told["packet"]["policy"]["name"] == rule


def test_explain_by_what_is_noted(scene):
    """An inbound packet is the application's whose socket it would reach."""
    def inbound():
        return scene.a.json("explain", net.IFNAME, "in", "10.9.0.99", A, "tcp", 9, PORT)["packet"]

    assert inbound()["application"] is None
    actor = scene.actor()
    listen(actor, PORT)
    assert (inbound()["application"], inbound()["decision"]) == ("app", "drop")
    actor.do("l.close()")
    assert inbound()["application"] is None


def test_monitor_names_the_application(scene):
    scene.a.neighbour("10.9.0.99", "02:00:00:00:00:99")
    process = scene.a.spawn(net.IPSECBPF, "-j", "monitor", net.IFNAME, "--app", "app", "-n1")
    actor = scene.actor()
    actor.do("u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")

    def told():
        try:
            actor.do("u.sendto(b'x', ('10.9.0.99', 7006))")
        except sockets.Refused:
            pass
        return process.poll() is not None

    net.wait_until(told, "the monitor has seen a drop")
    event = json.loads(process.stdout.readline())
    assert (event["application"], event["rule_name"]) == ("app", "app/2")


# ---- run ----------------------------------------------------------------------------------------

def run(scene, *args, uid=0, **options):
    become = ["setpriv", f"--reuid={uid}", "--clear-groups"] if uid else []
    return scene.a.run(*become, net.IPSECBPF, "run", *args, check=False, **options)


def test_run_is_the_application_from_the_start(scene):
    done = run(scene, net.IFNAME, "--app", "app", "--", "sh", "-c",
               "cat /proc/self/cgroup; echo \"$@\" >&2", "sh", "-j", "--app", "x")
    assert done.returncode == 0
    assert f"0::{scene.cgroup.path('app')}\n" in done.stdout
    assert done.stderr == "-j --app x\n", "what is behind -- is the command's"
    script = ("import socket, sys; s = socket.create_server(('', 7003)); print('ready', flush=True); "
              "sys.stdin.read()")
    process = scene.a.spawn(net.IPSECBPF, "run", net.IFNAME, "--app", "app", "--", PYTHON, "-c", script,
                            stdin=subprocess.PIPE)
    assert process.stdout.readline() == "ready\n"
    row, = [row for row in rows(scene) if row["pid"] == process.pid]
    assert (row["application"], row["noted"]) == ("app", True)
    process.stdin.close()
    assert process.wait(10) == 0


def test_run_makes_the_cgroup(scene):
    path = scene.topology.write("apps.json", document(
        {"name": "new", "match": [{"user": 1}, {"cgroup": scene.cgroup.path("made/deep")}],
         "networks": [{"remote": "any", "class": "trusted"}]}))
    scene.cgroup.made += [os.path.join(scene.cgroup.top, part) for part in ("made", "made/deep")]
    done = run(scene, "--policy", path, "--app", "new", "--", "cat", "/proc/self/cgroup")
    assert f"0::{scene.cgroup.path('made/deep')}\n" in done.stdout
    assert os.stat(os.path.join(scene.cgroup.top, "made")).st_mode & 0o777 == 0o755


@pytest.mark.parametrize("command, code, cause", [
    (["./no-such"], 127, "there is no such command"), (["no-such"], 127, "there is no such command"),
    (["/tmp"], 126, "cannot be run"), (["/etc/passwd"], 126, "cannot be run"),
    (["sh", "-c", "exit 3"], 3, ""),
])
def test_run_ends_as_the_command(scene, command, code, cause):
    done = run(scene, net.IFNAME, "--app", "app", "--", *command)
    assert (done.returncode, cause in done.stderr) == (code, True)


def test_run_executes_what_it_has_checked(scene):
    """An empty component of PATH is the working directory, for it as for execvp()."""
    script = scene.topology.write("here", "#!/bin/sh\necho ran\n")
    os.chmod(script, 0o755)
    done = scene.a.run("env", "-C", os.path.dirname(script), "PATH=", net.IPSECBPF, "run", net.IFNAME,
                       "--app", "app", "--", "here")
    assert done.stdout == "ran\n"


def test_run_is_for_cgroup2_only(scene, tmp_path):
    done = run(scene, net.IFNAME, "--app", "app", "--cgroup-root", str(tmp_path), "--", "true")
    assert (done.returncode, "cgroup2" in done.stderr, os.listdir(tmp_path)) == (125, True, [])


def test_run_becomes_the_user(scene):
    ids = "id -u; id -g; id -G; grep ^0: /proc/self/cgroup; echo $HOME"
    scene.cgroup.made.append(os.path.join(scene.cgroup.top, "demanding"))
    done = run(scene, net.IFNAME, "--app", "demanding", "--user", f"{UID}:54321", "--", "sh", "-c", ids)
    assert done.stdout.splitlines() == [str(UID), "54321", "54321",
                                        f"0::{scene.cgroup.path('demanding')}", os.environ["HOME"]]
    user = pwd.getpwnam("nobody")
    done = run(scene, net.IFNAME, "--app", "app", "--user", "nobody", "--", "sh", "-c", "id -u; id -G")
    assert done.stdout.splitlines() == [str(user.pw_uid), str(user.pw_gid)]
    script = "cat /proc/self/status"
    done = run(scene, net.IFNAME, "--app", "app", "--user", "nobody", "--", "sh", "-c", script)
    assert "CapEff:\t0000000000000000" in done.stdout, "no right of root's is left"


@pytest.mark.parametrize("user, cause", [
    (UID, f"--user {UID}:GROUP"), ("no-such", 'no user "no-such"'), ("nobody:no-such", "no group"),
    (":0", "no user"), ("4294967295", "no user"),
])
def test_run_as_nobody_knows_whom(scene, user, cause):
    done = run(scene, net.IFNAME, "--app", "app", "--user", user, "--", "echo", "ran")
    assert (done.returncode, done.stdout, cause in done.stderr) == (125, "", True)


def test_run_and_scripts(scene):
    """What runs is the interpreter: a match by the script's own name is nobody's."""
    script = scene.topology.write("backup.sh", "#!/bin/sh\necho ran\n")
    os.chmod(script, 0o755)
    path = scene.topology.write("scripts.json", document(*(
        {"name": name, "match": {"cgroup": scene.cgroup.path("app"), "executable": executable},
         "networks": [{"remote": "any", "class": "trusted"}]}
        for name, executable in (("script", script), ("shell", os.path.realpath("/bin/sh"))))))
    done = run(scene, "--policy", path, "--app", "script", "--", script)
    assert (done.returncode, done.stdout) == (125, "")
    assert "application \"shell\"" in done.stderr and "it is a script" in done.stderr
    assert run(scene, "--policy", path, "--app", "shell", "--", script).stdout == "ran\n"
    told = json.loads(scene.a.ipsecbpf("-j", "app", "identify", "--policy", path, "--exe", script,
                                       "--cgroup", scene.cgroup.path("app")).stdout)
    assert (told["application"], told["script"]) == ("shell", script)
    assert told["executable"] == "/bin/sh"


@pytest.mark.parametrize("name, next_step", [
    ("unit", "systemctl start x.service"), ("python", 'add a match to it: {"cgroup": "/python"}'),
    ("demanding", "--user USER"), ("nobody", "its applications are \"app\""),
])
def test_run_refuses(scene, name, next_step):
    done = run(scene, net.IFNAME, "--app", name, "--", "echo", "ran")
    assert (done.returncode, done.stdout) == (125, "")
    assert next_step in done.stderr


# ---- sockets that are older ---------------------------------------------------------------------

def open_before(scene):
    """A listener, a connection, and UDP, each of `app` and of nobody; before any policy names them."""
    scene.attach(document())
    server, actor, other = at_b(scene), scene.actor(), scene.actor("other")
    actor.do(f"l = socket.create_server(('::', {OTHER_PORT}), family=socket.AF_INET6, "
             "dualstack_ipv6=True)")
    connect(actor, B, PORT)
    actor.do("u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
    actor.do("u.bind(('0.0.0.0', 7005))")
    connect(other, B, PORT)
    return server, actor, other


def test_older_sockets_are_noted_with_the_policy(fresh):
    _, actor, other = open_before(fresh)
    fresh.a.ipsecbpf("policy", "apply", net.IFNAME, "-", input=json.dumps(policy(fresh)))
    newer = fresh.actor()
    newer.do("s = socket.socket()")
    for name in "lsu":
        assert fresh.who(actor, name).who == fresh.who(newer).who, "as the hooks would have noted it"
        assert fresh.who(actor, name).app == 1
    assert fresh.who(other).app == 0
    assert set(fresh.endpoints().values()) == {1}
    assert {key[2:] for key in fresh.endpoints()} == \
        {("::", OTHER_PORT), ("0.0.0.0", OTHER_PORT), ("0.0.0.0", 7005)}
    assert {remote for _, remote in fresh.flows()} == {PORT}
    assert len(fresh.flows()) == 1
    assert (listed(fresh)["sockets"], listed(fresh)["connections"]) == (4, 1)
    assert fresh.who(actor, "u").flags == sockets.SERVER
    actor.do("s.sendall(b'still works')")
    fresh.end(actor, newer)
    net.wait_until(lambda: not fresh.endpoints() and not fresh.flows(), "they go with their sockets")
    net.wait_until(lambda: listed(fresh)["connections"] == 0, "and are not counted any more")


def test_noted_once_however_often_policy_comes(fresh):
    _, actor, _ = open_before(fresh)
    for round in range(3):
        again = dict(policy(fresh))
        again["applications"] = [dict(again["applications"][0], max_flows=100 + round)] + \
            again["applications"][1:]
        fresh.a.ipsecbpf("policy", "apply", net.IFNAME, "-", input=json.dumps(again))
    assert set(fresh.endpoints().values()) == {1}
    assert listed(fresh)["connections"] == 1
    fresh.end(actor)
    net.wait_until(lambda: not fresh.endpoints(), "they go with their sockets")


def test_older_sockets_are_noted_by_attach(fresh):
    server, actor = at_b(fresh), fresh.actor()
    listen(actor, OTHER_PORT)
    connect(actor, B, PORT)
    fresh.attach(policy(fresh))
    assert fresh.who(actor, "l").app == fresh.who(actor, "s").app == 1
    assert len(fresh.flows()) == 1
    assert server.pid not in {row["pid"] for row in rows(fresh)}


def test_other_namespaces_are_left_alone(fresh):
    """A process of the application's cgroup, with sockets in another network namespace."""
    outside = fresh.actor(host=fresh.b)
    listen(outside, OTHER_PORT)
    fresh.attach(policy(fresh))
    assert fresh.who(outside, "l") is None
    assert not fresh.endpoints()


def test_what_is_counted_goes_with_the_application(fresh):
    """But not before its connections; and when it comes back meanwhile, they count again."""
    def used():
        return {entry["key"]: entry["value"] for entry in sockets.dump(fresh.a, "app_usage")}

    def apply(text):
        fresh.a.ipsecbpf("policy", "apply", net.IFNAME, "-", input=json.dumps(text))

    fresh.attach(policy(fresh))
    at_b(fresh)
    actor = fresh.actor()
    connect(actor, B, PORT)
    (name,) = used()
    for text in (document(), policy(fresh), document()):
        apply(text)
        assert used() == {name: 1}
    apply(policy(fresh))
    assert listed(fresh)["connections"] == 1
    actor.do("s.close()")
    net.wait_until(lambda: used() == {name: 0}, "it is closed")
    apply(document())
    assert not used()
