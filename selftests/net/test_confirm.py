# SPDX-License-Identifier: BSD-2-Clause
"""Policies on trial: who does not confirm gets the one before back, whatever has died meanwhile;
the last good one is kept on disk, and loaded at attach; two who change policy at once."""
import fcntl
import json
import os
import signal
import socket
import subprocess
import threading
import time

import pytest

import topology as net


def apply(host, path, *options, check=True):
    return host.ipsecbpf("policy", "apply", net.IFNAME, path, *options, check=check)


def shown(host):
    return host.ipsecbpf("policy", "show", net.IFNAME).stdout


def ping(host, address, patience=1):
    return host.run("ping", "-c1", "-W", patience, address, check=False).returncode == 0


def back(host, text, patience=10):
    net.wait_until(lambda: shown(host) == text, "the policy before", patience)


def with_rule(peer, name="another rule"):
    """As attached, with one more rule that is of no importance."""
    policy = net.protect_all(peer)
    policy["rules"].insert(0, {"name": name, "action": "discard", "protocol": "udp",
                               "remote_port": 9999})
    return policy


def redefined(peer):
    """Protects the same by other means: the SAs there are do not serve it."""
    return net.protect_all(peer, suite="aes256gcm16")


CLOSED = net.policy([])


@pytest.fixture
def lone_policy(product, lone):
    """One host with a policy, no SAs."""
    lone.other = type("Peer", (), {"address": lambda self, family: "10.9.0.2" if family == 4
                                   else "fd00:9::2"})()
    lone.a.ipsecbpf("attach", net.IFNAME, "--policy",
                    lone.write("policy-a.json", net.protect_all(lone.other)))
    return lone


def kept_file(host):
    """The last good policy of the host, or None."""
    names = host.run("sh", "-c", f"ls {net.STATE_ROOT}/policy 2>/dev/null || true").stdout.split()
    assert len(names) <= 1, names
    return host.run("cat", f"{net.STATE_ROOT}/policy/{names[0]}").stdout if names else None


def test_who_does_not_confirm_gets_the_policy_before(pair):
    """A policy that redefines the protection: the SAs of the one before wait, and serve again."""
    a, b = pair.a, pair.b
    before = shown(a)
    assert ping(a, b.address(4))
    done = apply(a, pair.write("new.json", redefined(b)), "--confirm", 2)
    assert "flush nothing before ipsecbpf policy confirm" in done.stderr
    status = a.status()
    assert 1 <= status["confirm_left"] <= 2
    assert "aes256gcm16" in shown(a) and not ping(a, b.address(4), 0.2), "the new one is in force"
    assert kept_file(a) == before, "what is on trial is not a good one yet"
    refused = apply(a, pair.path("policy-a.json"), check=False)
    assert refused.returncode == 1 and "policy confirm" in refused.stderr
    back(a, before)
    net.wait_until(lambda: ping(a, b.address(4)) and ping(b, a.address(6)), "the SAs before", 5)
    assert a.status()["confirm_left"] is None
    late = a.ipsecbpf("policy", "confirm", net.IFNAME, check=False)
    assert late.returncode == 1 and "no policy is on trial" in late.stderr
    assert shown(a) == before
    assert a.status()["policy_serial"] == status["policy_serial"] - 1
    apply(a, pair.write("third.json", with_rule(b)))
    assert a.status()["policy_serial"] == status["policy_serial"] + 1, "a serial given twice"


def test_confirm_keeps_it_and_undo_does_not_wait(lone_policy):
    a = lone_policy.a
    before = shown(a)
    new = lone_policy.write("new.json", with_rule(lone_policy.other))
    apply(a, new, "--confirm", 600)
    tried = shown(a)
    a.ipsecbpf("policy", "confirm", net.IFNAME, "--undo")
    assert shown(a) == before == kept_file(a)
    text = apply(a, new, "--confirm", 600).stdout
    assert f"policy confirm {net.IFNAME}" in text
    assert "confirm in " in a.ipsecbpf("status", net.IFNAME).stdout
    a.ipsecbpf("policy", "confirm", net.IFNAME)
    assert shown(a) == tried == kept_file(a)
    assert a.status()["confirm_left"] is None
    apply(a, lone_policy.path("policy-a.json"))
    assert shown(a) == before == kept_file(a)


def test_the_hooks_go_back_without_a_supervisor(lone_policy):
    """Killed in the trial: nobody notes that it is over, and the policy goes back anyway."""
    a = lone_policy.a
    before = shown(a)
    supervisor = a.status()["supervisor_pid"]
    open_for_all = net.policy([], defaults={"in": "bypass", "out": "bypass", "non_ip": "bypass"})
    apply(a, lone_policy.write("open.json", open_for_all), "--confirm", 1)
    os.kill(supervisor, signal.SIGKILL)
    back(a, before, 5)
    assert a.status()["state"] == "supervisor-dead"
    capture = lone_policy.capture()
    dropped, passed = a.drops("no_sa_out"), a.passed("out_bypass")
    a.neighbour("10.9.0.2", "02:00:00:00:00:02")
    with a.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"the clear text that nobody may see", ("10.9.0.2", 7000))
    a.wait_drop("no_sa_out", dropped)
    assert a.passed("out_bypass") == passed
    assert not [f for f in capture.taken("a") if b"the clear text" in f]
    # what is on trial has not been kept: taking over begins with the last good one
    note = a.ipsecbpf("attach", net.IFNAME).stderr
    assert "last good policy" in note and shown(a) == before


def snapshots(host):
    """How many generations have a compiled policy."""
    dump = json.loads(host.run("bpftool", "-j", "map", "dump", "pinned",
                               f"{net.PIN_ROOT}/{host.key}/maps/spd").stdout)
    return sum("error" not in entry["value"] for entry in dump)


def test_a_trial_that_ends_under_a_lock_leaves_nothing(lone_policy):
    """Nobody frees what it used but the supervisor, which has to wait for the lock."""
    a = lone_policy.a
    before = shown(a)
    apply(a, lone_policy.write("new.json", CLOSED), "--confirm", 1)
    with open(os.path.join(net.RUN_ROOT, a.key + ".lock"), "r+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        back(a, before)
        a.status()  # the supervisor has been round once more
        assert snapshots(a) == 2
    net.wait_until(lambda: snapshots(a) == 1, "the snapshot on trial to be freed", 10)
    assert shown(a) == before


def test_a_confirm_that_is_too_late_leaves_nothing(lone_policy):
    """Before the supervisor has noted the end, which then is not its to note."""
    a = lone_policy.a
    before, supervisor = shown(a), a.status()["supervisor_pid"]
    apply(a, lone_policy.write("new.json", CLOSED), "--confirm", 2)
    assert snapshots(a) == 2
    os.kill(supervisor, signal.SIGSTOP)
    try:
        back(a, before)
        late = a.ipsecbpf("policy", "confirm", net.IFNAME, check=False)
        assert late.returncode == 1 and "too late" in late.stderr
        assert snapshots(a) == 1 and shown(a) == before
    finally:
        os.kill(supervisor, signal.SIGCONT)


def test_a_kept_policy_that_cannot_be_read_says_how_to_go_on(product, lone):
    a, path = lone.a, lone.write("a.json", net.policy([]))
    a.ipsecbpf("attach", net.IFNAME, "--policy", path)
    a.ipsecbpf("detach", net.IFNAME, "--open")
    a.run("sh", "-c", f"truncate -s 40 {net.STATE_ROOT}/policy/*")
    refused = a.ipsecbpf("attach", net.IFNAME, check=False)
    assert refused.returncode == 1 and not a.attached()
    assert "next: attach with --policy FILE, or remove the kept file" in refused.stderr
    a.ipsecbpf("attach", net.IFNAME, "--policy", path)


def test_a_first_policy_that_is_not_confirmed_leaves_none(product, lone):
    a = lone.a
    a.ipsecbpf("attach", net.IFNAME)
    assert a.status()["state"] == "blocked"
    apply(a, lone.write("first.json", CLOSED), "--confirm", 1)
    assert a.status()["state"] == "running"
    net.wait_until(lambda: a.status()["state"] == "blocked", "no policy again", 5)
    assert a.ipsecbpf("policy", "show", net.IFNAME, check=False).returncode == 1
    before = a.drops("no_policy")
    a.neighbour("10.9.0.2", "02:00:00:00:00:02")
    ping(a, "10.9.0.2", 0.1)
    a.wait_drop("no_policy", before)
    assert kept_file(a) is None


def test_a_killed_command_does_not_stop_the_clock(lone_policy):
    """Killed anywhere: the policy before, or the new one for no longer than was said."""
    a = lone_policy.a
    before = shown(a)
    new = lone_policy.write("new.json", with_rule(lone_policy.other))
    outcomes = set()
    start = time.monotonic()
    apply(a, new, "--confirm", 1)
    whole = time.monotonic() - start
    back(a, before, 3)
    for share in (0, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9, 100):
        process = subprocess.Popen(a.enter() + [net.IPSECBPF, "policy", "apply", net.IFNAME, new,
                                                "--confirm", "1"], stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)
        try:
            process.wait(share * whole)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        outcomes.add(shown(a) == before)
        back(a, before, 3)
        assert kept_file(a) == before
    assert outcomes == {True, False}, "the kills did not spread over the command"


def test_flip_and_flip_back_under_traffic(pair):
    """Both policies protect all: nothing clear in either change, nothing lost for want of one."""
    a, b = pair.a, pair.b
    stop = threading.Event()

    def stream():
        with a.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
            while not stop.wait(0.001):
                sender.sendto(b"never in the clear", (b.address(4), 7000))
    capture = pair.capture()
    before, new = shown(a), pair.write("new.json", with_rule(b))
    lost = a.drops()
    sender = threading.Thread(target=stream)
    sender.start()
    try:
        apply(a, new, "--confirm", 1)
        back(a, before, 5)
        seen = len(capture.taken("a"))
        net.wait_until(lambda: len(capture.taken("a")) > seen + 50, "traffic goes on", 5)
    finally:
        stop.set()
        sender.join()
    kinds = [net.kind(f) for f in capture.taken("a")]
    assert set(kinds) <= {"esp", "arp", "nd"} and kinds.count("esp") > 300
    after = a.drops()
    assert {reason: after[reason] - lost[reason] for reason in after
            if after[reason] != lost[reason] and reason != "policy_discard"} == {}


def test_dry_run_changes_nothing(lone_policy):
    a, other = lone_policy.a, lone_policy.other
    a.ipsecbpf("sa", "apply", net.IFNAME, "--fresh",
               lone_policy.write("sa.json", net.both_ways(a, other), mode=0o600))
    before, serial = shown(a), a.status()["policy_serial"]
    new = lone_policy.write("new.json", redefined(other))
    done = a.ipsecbpf("-j", "policy", "apply", net.IFNAME, new, "--dry-run", check=False)
    said = json.loads(done.stdout)
    assert done.returncode == 1 and said["equal"] is False and said["changes"]
    assert said["orphaned_sas"] == 4 and said["entries"] > 0
    same = a.ipsecbpf("policy", "apply", net.IFNAME, lone_policy.path("policy-a.json"), "--dry-run")
    assert "no difference" in same.stdout
    assert said["memory"] % 64 == 0 and said["memory"] > 64 and said["steps"] > 0
    ports = list(range(0, 2000, 2))
    rules = [{"name": "many", "action": "bypass", "protocol": ["tcp", "udp"],
              "local_port": ports, "remote_port": ports}]
    big = apply(a, lone_policy.write("big.json", net.policy(rules)), "--dry-run", check=False)
    assert big.returncode == 1 and "the limit is 1048576" in big.stderr
    assert shown(a) == before and a.status()["policy_serial"] == serial
    assert kept_file(a) == before
    # the definition is still the old one: SAs of the new one find no protection that takes them
    sas = net.both_ways(a, other, spi=0x5000, suite="aes256gcm16")
    done = a.ipsecbpf("sa", "apply", net.IFNAME, "--fresh",
                      lone_policy.write("new-sa.json", sas, mode=0o600), check=False)
    assert done.returncode == 1 and "does not allow suite aes256gcm16" in done.stderr


def test_the_last_good_policy_is_loaded_at_attach(lone_policy):
    a, other = lone_policy.a, lone_policy.other
    apply(a, lone_policy.write("good.json", with_rule(other)))
    good = shown(a)
    assert good == kept_file(a)
    assert a.run("sh", "-c", f"stat -c %a {net.STATE_ROOT}/policy {net.STATE_ROOT}/policy/*") \
        .stdout.split() == ["700", "600"]
    a.ipsecbpf("detach", net.IFNAME, "--open")
    assert "last good policy" in a.ipsecbpf("attach", net.IFNAME).stderr
    assert shown(a) == good
    a.ipsecbpf("detach", net.IFNAME, "--open")
    # a file that is given comes first; on trial it is not kept before it is confirmed
    a.ipsecbpf("attach", net.IFNAME, "--policy", lone_policy.path("policy-a.json"), "--trial", 600)
    given = shown(a)
    assert given != good and kept_file(a) == good
    apply(a, lone_policy.write("closed.json", CLOSED))
    assert kept_file(a) == good, "the attachment is on trial"
    a.ipsecbpf("confirm", net.IFNAME)
    assert kept_file(a) == shown(a) != good


def test_what_earlier_boots_left_goes(lone_policy):
    """Of other network namespaces: the name bears the boot, and nobody will ask for it again."""
    a, directory = lone_policy.a, f"{net.STATE_ROOT}/policy"
    own = a.run("ls", directory).stdout.split()
    boot = a.run("cut", "-c-8", "/proc/sys/kernel/random/boot_id").stdout.strip()
    gone = ["eth0@7-00000000.json", "a@b@7f-00000000.json.new"]
    stay = [f"eth0@7-{boot}.json", "eth0.json", "eth0@7-00000000", "eth0@7-00000000.json.old", "x@y.json"]
    a.run("sh", "-c", 'cd "$0" && touch "$@"', directory, *gone, *stay)
    apply(a, lone_policy.write("closed.json", CLOSED))
    assert sorted(a.run("ls", directory).stdout.split()) == sorted(own + stay)


def test_a_full_disk_leaves_the_policy(lone_policy):
    a = lone_policy.a
    before = shown(a)
    a.run("mount", "-t", "tmpfs", "-o", "size=4k,mode=700", "full", f"{net.STATE_ROOT}/policy")
    a.run("sh", "-c", f"head -c 4096 /dev/zero > {net.STATE_ROOT}/policy/fill")
    new = lone_policy.write("new.json", with_rule(lone_policy.other))
    full = apply(a, new, check=False)
    assert full.returncode == 1 and "No space left" in full.stderr and "unchanged" in full.stderr
    assert shown(a) == before
    apply(a, new, "--confirm", 600)
    unkept = a.ipsecbpf("policy", "confirm", net.IFNAME, check=False)
    assert unkept.returncode == 1 and "No space left" in unkept.stderr
    assert a.status()["confirm_left"] > 0, "still on trial"
    a.run("umount", f"{net.STATE_ROOT}/policy")
    a.ipsecbpf("policy", "confirm", net.IFNAME)
    assert kept_file(a) == shown(a) != before


def test_two_writers_at_once(lone_policy):
    """The second waits, then names the first by process and command."""
    a = lone_policy.a
    before = shown(a)
    with open(os.path.join(net.RUN_ROOT, a.key + ".lock"), "r+") as lock:
        holder = a.spawn("sleep", 600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        lock.truncate(0)
        lock.write(f"{holder.pid}\n")
        lock.flush()
        done = apply(a, lone_policy.write("new.json", CLOSED), check=False)
        assert done.returncode == 1 and f"process {holder.pid} " in done.stderr
        assert "sleep 600" in done.stderr
        dry = apply(a, lone_policy.path("new.json"), "--dry-run", check=False)
        assert dry.returncode == 1 and "nothing was changed" in dry.stdout, "looking is allowed"
    assert shown(a) == before
