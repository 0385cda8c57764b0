# SPDX-License-Identifier: BSD-2-Clause
"""What dies, is taken away or is interrupted half way: it comes back, or leaves nothing."""
import json
import os
import shutil
import signal
import subprocess
import time

import pytest

import topology as net


def ping(host, address, patience=1):
    """patience: s. Little where an answer is not expected."""
    return host.run("ping", "-c1", "-W", patience, address, check=False).returncode == 0


def links(host):
    return {link["ifname"] for link in json.loads(host.ip("-j", "link", "show").stdout)}


def keyed(topology):
    return ("--policy", topology.path("policy-a.json"), "--sa", topology.path("sa.json"))


# ---- the worker ---------------------------------------------------------------------------------

def test_the_worker_comes_back_while_status_is_polled(pair):
    """Killed young it is restarted after a pause; being asked meanwhile must not prolong that."""
    a = pair.a
    polls = 0
    for _ in range(3):
        pid = a.worker_pid()
        os.kill(pid, signal.SIGKILL)
        end = time.monotonic() + 10
        while a.worker_pid() in (0, pid):       # polls without a pause in between
            polls += 1
            assert time.monotonic() < end, f"no worker after {polls} polls: {a.status()}"
    assert ping(a, pair.b.address(4))


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return sum(map(int, fields[11:15]))         # own and children's, user and system


def test_a_lost_host_port_is_shown_and_makes_nobody_spin(pair):
    a, b = pair.a, pair.b
    status = a.status()
    pid = status["supervisor_pid"]
    capture = pair.capture()
    a.ip("link", "del", status["host_port"])
    began, ticks = time.monotonic(), cpu_ticks(pid)

    def restarts():
        return a.status()["worker_restarts"]
    # the pauses are 0, 0.1, 0.2, 0.4 and 0.8 s, if each worker dies young
    net.wait_until(lambda: restarts() >= 5, "five attempts", 30)
    waited = time.monotonic() - began
    assert waited > 1.4, f"five workers in {waited:.2f} s"
    spent = (cpu_ticks(pid) - ticks) / os.sysconf("SC_CLK_TCK")
    assert spent < waited / 2, f"{spent:.2f} s of processor time in {waited:.2f} s"
    for family in (4, 6):
        assert not ping(a, b.address(family)) and not ping(b, a.address(family))
    assert not [f for f in capture.taken() if net.kind(f) not in ("esp", "arp", "nd")]

    def told():
        status = a.status()
        return not status["worker_pid"] and status["problems"]
    net.wait_until(told, "status tells of it")
    # and the way out works
    a.ipsecbpf("detach", net.IFNAME)
    a.ipsecbpf("attach", net.IFNAME, *keyed(pair))
    assert ping(a, b.address(4))


# ---- attach, killed ---------------------------------------------------------------------------

def rest(host):
    """What of an attachment is there. A lock that nobody holds and a socket file that nobody serves
    do not count: who is killed before anybody else is there cannot take them back."""
    left = [pid for pid in host.pids() if pid != host.holder.pid]
    left += [name for name in links(host) if name.startswith("ipsec")]
    if os.path.exists(os.path.join(net.PIN_ROOT, host.key)):
        left.append("pins")
    return left


def attached(host):
    done = host.ipsecbpf("-j", "status", net.IFNAME, check=False)
    if done.returncode == 0:
        status = json.loads(done.stdout)["attachments"][0]
        if status["state"] == "running" and status["worker_pid"]:
            return status
    return None


def kill_attach(host, options, moment):
    """Starts an attach and kills it when moment() is true, or when it has ended."""
    process = subprocess.Popen(host.enter() + [net.IPSECBPF, "attach", net.IFNAME, *options],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    began = time.monotonic()
    while process.poll() is None and not moment(time.monotonic() - began):
        pass
    process.kill()
    return process.wait()


def moments(host):
    """By what has come into being, and by time."""
    for root, name in ((net.RUN_ROOT, host.key + ".sock"), (net.PIN_ROOT, host.key),
                       (net.PIN_ROOT, host.key + "/maps/events"),
                       (net.PIN_ROOT, host.key + "/links/tc_host_port"),
                       (net.PIN_ROOT, host.key + "/links/xdp_ingress")):
        path = os.path.join(root, name)
        yield name, lambda _, p=path: os.path.exists(p)
    for count in (2, 3):    # with the attaching command itself
        yield f"{count} processes", lambda _, n=count: len(host.pids()) > n
    yield "the host port", lambda _: any(name.startswith("ipsec") for name in links(host))
    for ms in (20, 120, 200, 280, 360, 440, 520, 600):
        yield f"{ms} ms", lambda elapsed, ms=ms: elapsed * 1000 >= ms


def test_a_killed_attach_is_all_or_nothing(product, wire):
    a, b = wire.a, wire.b
    sas = wire.write("sa.json", net.both_ways(a, b), mode=0o600)
    options = ("--policy", wire.write("policy.json", net.protect_all(b)), "--sa", sas, "--fresh")
    outcomes = set()
    for name, moment in moments(a):
        kill_attach(a, options, moment)
        net.wait_until(lambda: not rest(a) or attached(a), f"killed at {name}: {rest(a)}", 15)
        outcomes.add(bool(rest(a)))
        if rest(a):
            assert attached(a)["sas_out"] == 2, f"killed at {name}: half attached"
            a.ipsecbpf("detach", net.IFNAME, "--open")
            net.wait_until(lambda: not rest(a), f"killed at {name}, detached: {rest(a)}")
        else:
            assert ping(a, b.address(4)), f"killed at {name}: nothing is left, and nothing passes"
    assert False in outcomes, "no attach was hit"
    a.ipsecbpf("attach", net.IFNAME, *options)
    assert attached(a)


def test_a_killed_attach_over_a_guard_leaves_nothing_open(pair):
    a, b = pair.a, pair.b
    a.ipsecbpf("detach", net.IFNAME)
    b.ipsecbpf("detach", net.IFNAME, "--open")
    capture = pair.capture()
    for name, moment in moments(a):
        kill_attach(a, keyed(pair), moment)

        def settled():
            return attached(a) or not [pid for pid in a.pids() if pid != a.holder.pid]
        net.wait_until(settled, f"killed at {name}: {a.pids()}", 15)
        for family in (4, 6):
            assert not ping(b, a.address(family), 0.2), f"killed at {name}: open"
        assert a.status()["state"] in ("running", "guard", "blocked", "supervisor-dead")
        if attached(a):
            a.ipsecbpf("detach", net.IFNAME)
    assert not [f for f in capture.taken("a") if net.kind(f) not in ("esp", "arp", "nd")]
    a.ipsecbpf("attach", net.IFNAME, *keyed(pair))
    b.ipsecbpf("attach", net.IFNAME, "--policy", pair.path("policy-b.json"),
               "--sa", pair.path("sa.json"))
    assert ping(a, b.address(4)) and ping(b, a.address(6))


# ---- policy -------------------------------------------------------------------------------------

def map_path(host, name):
    return os.path.join(net.PIN_ROOT, host.key, "maps", name)


def bpftool(*argv):
    return net.run_command(["bpftool", *map(str, argv)]).stdout


def octets(entry):
    return [str(int(octet, 16)) for octet in entry]


def test_applying_again_repairs_lost_names(pair):
    """A protection's entry is gone, as after an interruption: the same policy sets it right."""
    a, b = pair.a, pair.b
    pinned = map_path(a, "protections")
    entries = json.loads(bpftool("-j", "map", "dump", "pinned", pinned))
    assert len(entries) == 1
    bpftool("map", "delete", "pinned", pinned, "key", *octets(entries[0]["key"]))
    policy = pair.path("policy-a.json")
    assert a.json("policy", "apply", net.IFNAME, policy)["changed"]
    assert len(json.loads(bpftool("-j", "map", "dump", "pinned", pinned))) == 1
    assert not a.json("policy", "apply", net.IFNAME, policy)["changed"], "twice"
    a.ipsecbpf("sa", "flush", net.IFNAME)
    a.ipsecbpf("sa", "apply", net.IFNAME, pair.path("sa.json"))
    assert ping(a, b.address(4)) and ping(b, a.address(6))


def test_no_packet_meets_a_policy_that_is_being_freed(pair):
    """100 loads under traffic in both directions: none drops for want of a table."""
    a, b = pair.a, pair.b
    other = net.protect_all(b)
    other["rules"].insert(0, {"name": "one more", "action": "protect", "protocol": "udp",
                              "remote_port": 9, "peer": "peer", "protection": "wire"})
    other = pair.write("other.json", other)
    floods = [a.spawn("ping", "-f", "-q", "-w", 60, b.address(family), stdout=subprocess.DEVNULL)
              for family in (4, 6)]
    before = a.passed("in_verified")
    script = ("for i in $(seq 50); do "
              "$0 policy apply $1 $2 && $0 policy apply $1 $3 || exit 1; done")
    a.run("sh", "-c", script, net.IPSECBPF, net.IFNAME, other, pair.path("policy-a.json"),
          timeout=100)
    for flood in floods:
        flood.send_signal(signal.SIGINT)
        flood.wait()
    assert a.passed("in_verified") > before + 1000
    assert a.drops("internal") == 0 and b.drops("internal") == 0
    assert a.status()["policy_serial"] == 101


# ---- sequence numbers -------------------------------------------------------------------------

SEQ_BLOCK = 1 << 20


def use_up(host, spi):
    """Moves an idle outbound SA forward to ten numbers before the end of what is reserved."""
    slot = next(sa["slot"] for sa in host.json("sa", "list", net.IFNAME)["sas"]
                if int(str(sa["spi"]), 0) == spi)
    pinned = map_path(host, "sa_state")
    key = slot.to_bytes(4, "little")
    value = json.loads(bpftool("-j", "map", "lookup", "pinned", pinned, "key", *key))["value"]
    state = bytearray(int(octet, 16) for octet in value)
    reserved = int.from_bytes(state[8:16], "little")
    state[:8] = (reserved - 10).to_bytes(8, "little")
    bpftool("map", "update", "pinned", pinned, "key", *key, "value", *state)
    return reserved


@pytest.mark.skipif(not shutil.which("strace"), reason="needs strace, to make writes fail")
def test_a_disk_that_failed_is_asked_again(pair):
    a, b = pair.a, pair.b
    assert ping(a, b.address(4))
    supervisor = a.status()["supervisor_pid"]
    trace = pair.path("strace")
    failing = subprocess.Popen(["strace", "-qq", "-o", trace, "-p", str(supervisor),
                                "-e", "trace=pwrite64", "-e", "inject=pwrite64:error=ENOSPC"])
    pair.processes.append(failing)

    def traced():
        with open(f"/proc/{supervisor}/status") as file:
            return f"TracerPid:\t{failing.pid}\n" in file.read()
    net.wait_until(traced, "strace")
    use_up(a, spi_between(pair, a, b))
    before = a.drops("seq_unreserved")
    a.run("ping", "-c20", "-i0.01", "-W1", b.address(4), check=False)
    a.wait_drop("seq_unreserved", before)
    with open(trace) as file:
        assert "INJECTED" in file.read()
    failing.send_signal(signal.SIGINT)
    failing.wait()
    net.wait_until(lambda: ping(a, b.address(4)), "sending goes on by itself", 15)
    assert a.status()["supervisor_pid"] == supervisor


def spi_between(topology, src, dst):
    with open(topology.path("sa.json")) as file:
        return next(sa["spi"] for sa in json.load(file)["sas"]
                    if sa["src"] == src.address(4) and sa["dst"] == dst.address(4))
