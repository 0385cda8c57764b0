# SPDX-License-Identifier: BSD-2-Clause
"""How an attachment ends: what was blocked stays blocked, what was guarded stays guarded, a trial
that was confirmed stays, and an interface that was made anew is not taken for the old one."""
import json
import os
import re
import signal
import socket

import pytest

import topology as net

SECRET = b"the clear text that nobody may see"
BLOCKED, GUARD = ("blocked", "no_policy"), ("guard", "guard")


def ping(host, address, patience=1):
    """patience: s. Little where an answer is not expected."""
    return host.run("ping", "-c1", "-W", patience, address, check=False).returncode == 0


def ended(pid):
    net.wait_until(lambda: not os.path.exists(f"/proc/{pid}"), f"end of process {pid}", 10)


def attach(host, *options):
    """Attaches; returns the supervisor's pid."""
    host.ipsecbpf("attach", net.IFNAME, *options)
    return host.status()["supervisor_pid"]


def datagrams(host, other):
    for family, kind in ((4, socket.AF_INET), (6, socket.AF_INET6)):
        with host.socket(kind, socket.SOCK_DGRAM) as sender:
            try:
                sender.sendto(SECRET, (other.address(family), 7000))
            except OSError:         # refused on the way: not clear text
                pass


def assert_shut(topology, state, reason):
    """Nothing clear leaves a or gets in, and the drops are counted under the right reason."""
    a, b = topology.a, topology.b
    assert a.status()["state"] == state
    capture = topology.capture()
    passed = a.json("stats", net.IFNAME)["passed"]
    before = a.drops(reason)
    datagrams(a, b)
    a.wait_drop(reason, before, 2)
    for family in (4, 6):
        assert not ping(b, a.address(family), 0.2), "clear text got in"
        assert not ping(a, b.address(family), 0.2), "clear text got out and back"
    essential = ("arp", "nd", "mld") if state == "blocked" else ("arp", "nd")
    assert not [f for f in capture.taken("a") if net.kind(f) not in essential]
    after = a.json("stats", net.IFNAME)["passed"]
    for counter in ("in_bypass", "out_bypass"):
        assert after[counter] == passed[counter]


# ---- the ends of an attachment without policy -------------------------------------------------

def end_by_detach(host):
    pid = attach(host)
    host.ipsecbpf("detach", net.IFNAME)
    ended(pid)


def end_by_sigterm(host):
    pid = attach(host)
    os.kill(pid, signal.SIGTERM)
    ended(pid)


def end_by_sigkill(host):
    pid = attach(host)
    os.kill(pid, signal.SIGKILL)
    ended(pid)


@pytest.mark.parametrize("end", (end_by_detach, end_by_sigterm, end_by_sigkill),
                         ids=lambda end: end.__name__)
def test_what_was_blocked_stays_blocked(product, wire, end):
    """No policy was ever loaded: there is none that a guard could go by."""
    end(wire.a)
    assert_shut(wire, *BLOCKED)
    wire.a.ipsecbpf("detach", net.IFNAME, "--open")
    assert ping(wire.a, wire.b.address(4)) and ping(wire.b, wire.a.address(6))


def test_policy_on_a_blocked_leftover_is_in_force(product, wire):
    """Without a supervisor too, a first policy decides, and protects by dropping."""
    end_by_detach(wire.a)
    policy = wire.write("policy.json", net.protect_all(wire.b))
    wire.a.ipsecbpf("policy", "apply", net.IFNAME, policy)
    assert_shut(wire, "supervisor-dead", "no_sa_out")


# ---- trials -----------------------------------------------------------------------------------

def keyed(topology):
    return ("--policy", topology.path("policy-a.json"), "--sa", topology.path("sa.json"))


def test_a_trial_over_a_guard_is_refused(pair):
    """It could not end in what the guard guards now; refused, the guard stays as it was."""
    a, b = pair.a, pair.b
    a.ipsecbpf("detach", net.IFNAME)
    refused = a.ipsecbpf("attach", net.IFNAME, *keyed(pair), "--trial", 2, check=False)
    assert refused.returncode == 1 and "without --trial" in refused.stderr
    b.ipsecbpf("detach", net.IFNAME, "--open")
    assert_shut(pair, *GUARD)


def test_remains_of_an_attachment_can_be_removed(pair):
    """A map's pin lost, a hook still there: what it protects is shut, and detach --open opens it."""
    a, b = pair.a, pair.b
    a.ipsecbpf("detach", net.IFNAME)
    b.ipsecbpf("detach", net.IFNAME, "--open")
    inode = os.stat(net.netns_path(a.netns)).st_ino
    pins = f"/sys/fs/bpf/ipsecbpf/{net.IFNAME}@{inode}"
    a.run("rm", f"{pins}/maps/drops")
    assert not ping(a, b.address(4), 0.2)
    a.ipsecbpf("detach", net.IFNAME, "--open")
    assert not os.path.exists(pins)
    assert ping(a, b.address(4)) and ping(b, a.address(6))


def test_a_trial_over_nothing_ends_open(product, wire):
    a, b = wire.a, wire.b
    policy = wire.write("policy.json", net.protect_all(b))
    ended(attach(a, "--policy", policy, "--trial", 1))
    assert not a.attached()
    assert ping(a, b.address(4)) and ping(b, a.address(6))


def trial_expired(pid):
    """Has the trial's timer run out? Told by the kernel, not by our clock. The supervisor's other
    timers do not run while there are no SAs."""
    ticks = []
    for name in os.listdir(f"/proc/{pid}/fdinfo"):
        with open(f"/proc/{pid}/fdinfo/{name}") as file:
            ticks += re.findall(r"^ticks: (\d+)$", file.read(), re.M)
    if not ticks:
        raise net.Failure("the supervisor has no timer")
    return any(int(number) for number in ticks)


def asked(host):
    """Is a request waiting to be accepted at the control socket?"""
    for line in host.run("ss", "-xlH").stdout.splitlines():
        if host.key in line:
            return int(line.split()[2]) > 0
    raise net.Failure("no control socket")


@pytest.mark.parametrize("late", (False, True), ids=("before", "at"))
def test_a_confirmed_trial_stays(product, wire, late):
    """The supervisor is held until timer and request are both there. What it answers must hold."""
    a, b = wire.a, wire.b
    policy = wire.write("policy.json", net.protect_all(b))
    pid = attach(a, "--policy", policy, "--trial", 2)
    os.kill(pid, signal.SIGSTOP)
    try:
        if late:
            net.wait_until(lambda: trial_expired(pid), "the trial's timer", 10)
        confirm = a.spawn(net.IPSECBPF, "confirm", net.IFNAME)
        net.wait_until(lambda: asked(a), "the request")
        net.wait_until(lambda: trial_expired(pid), "the trial's timer", 10)
    finally:
        os.kill(pid, signal.SIGCONT)
    output, _ = confirm.communicate(timeout=20)
    assert confirm.returncode == 0, output
    status = a.status()
    assert status["state"] == "running" and status["supervisor_pid"] == pid
    again = a.ipsecbpf("confirm", net.IFNAME, check=False)
    assert again.returncode == 1 and "no trial" in again.stderr
    assert a.status()["supervisor_pid"] == pid


def test_confirm_after_the_end_is_refused(product, wire):
    a = wire.a
    policy = wire.write("policy.json", net.protect_all(wire.b))
    ended(attach(a, "--policy", policy, "--trial", 1))
    done = a.ipsecbpf("confirm", net.IFNAME, check=False)
    assert done.returncode == 1 and "not attached" in done.stderr


# ---- an interface that is not the one attached to -----------------------------------------------

def make_anew(topology, host):
    """The host's link is removed and made again under the same name."""
    host.ip("link", "del", net.IFNAME)
    net.run_command(["ip", "link", "add", net.IFNAME, "netns", host.netns, "type", "veth",
                     "peer", "name", host.name, "netns", topology.wire])
    net.run_command(["ip", "-n", topology.wire, "link", "set", "dev", host.name, "master",
                     "bridge", "up"])
    host.configure()
    topology._wait_for_link(host)


def take_hook_off(hook):
    def change(topology, host):
        net.run_command(["bpftool", "link", "detach", "pinned",
                         f"{net.PIN_ROOT}/{host.key}/links/{hook}"])
    change.__name__ = f"{hook}_off"
    return change


CHANGES = (make_anew, take_hook_off("tc_egress"), take_hook_off("xdp_ingress"))


def assert_says_gone(a, pair):
    status = a.status()
    assert status["state"] == "gone"
    text = a.ipsecbpf("status", net.IFNAME, check=False).stdout
    assert f"detach {net.IFNAME} --open" in text
    for verb in (("policy", "apply", net.IFNAME, pair.path("policy-a.json")),
                 ("detach", net.IFNAME)):
        done = a.ipsecbpf(*verb, check=False)
        assert done.returncode == 1, f"{verb} has done something without effect: {done.stdout}"
        assert "detach --open" in done.stderr


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
@pytest.mark.parametrize("tidy", (True, False), ids=("detach", "attach"))
def test_an_interface_made_anew_is_not_called_attached(pair, change, tidy):
    a, b = pair.a, pair.b
    assert ping(a, b.address(4))
    status = a.status()
    change(pair, a)
    assert_says_gone(a, pair)
    if tidy:
        a.ipsecbpf("detach", net.IFNAME, "--open")
        assert not a.attached()
        for pid in (status["supervisor_pid"], status["worker_pid"]):
            ended(pid)
    a.ipsecbpf("attach", net.IFNAME, *keyed(pair))
    capture = pair.capture()
    assert a.status()["state"] == "running"
    for pid in (status["supervisor_pid"], status["worker_pid"]):
        ended(pid)
    assert ping(a, b.address(4)) and ping(b, a.address(6))
    assert not [f for f in capture.taken() if net.kind(f) not in ("esp", "arp", "nd")]


def move_away_and_back(topology, host):
    """Through another namespace: the index stays, and the kernel unbinds the AF_XDP sockets."""
    away = f"{topology.tag}-away"
    before = host.status()["ifindex"]
    net.run_command(["ip", "netns", "add", away])
    try:
        host.ip("link", "set", net.IFNAME, "netns", away)
        net.run_command(["ip", "-n", away, "link", "set", net.IFNAME, "netns", host.netns])
    finally:
        net.run_command(["ip", "netns", "del", away])
    host.configure()
    topology._wait_for_link(host)
    assert json.loads(host.ip("-j", "link", "show", net.IFNAME).stdout)[0]["ifindex"] == before


def test_an_interface_that_comes_back_is_protected_again(pair):
    a, b = pair.a, pair.b
    assert ping(a, b.address(4))
    old = a.worker_pid()
    move_away_and_back(pair, a)
    capture = pair.capture()
    ping(a, b.address(4))       # sending is how the worker finds out
    net.wait_until(lambda: a.worker_pid() not in (0, old), "another worker", 10)
    assert a.status()["state"] == "running"
    assert ping(a, b.address(4)) and ping(b, a.address(6))
    assert not [f for f in capture.taken() if net.kind(f) not in ("esp", "arp", "nd")]
