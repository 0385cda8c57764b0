# SPDX-License-Identifier: BSD-2-Clause
"""Host names in policies: resolved at apply in a sandbox, kept on disk, followed by their TTL. The name
server is the test's own, in the host's namespace."""
import json
import os
import signal
import subprocess

import pytest

import topology as net
from sockets import Cgroup

SERVER = os.path.join(os.path.dirname(os.path.abspath(__file__)), "name_server.py")
NAME = "www.example.org"
OTHER = "mail.example.org"


def parent_of(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii") as source:
        return int(source.read().rsplit(")", 1)[1].split()[1])


class Names:
    """A host with a name server of its own, and policies with names."""

    def __init__(self, topology):
        self.topology, self.host = topology, topology.a
        self.cgroup = Cgroup()      # no hook is to see other processes' sockets
        topology.closers.append(self.cgroup.close)
        self.zone_path = topology.path("zone.json")
        self.conf("resolv.conf", "nameserver 127.0.0.1\n")
        self.conf("nsswitch.conf", "hosts: files dns\n")
        self.conf("hosts", "127.0.0.1 localhost\n192.0.2.77 in-hosts.example.org\n")
        self.zone({NAME: {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"], "ttl": 5}})
        self.server = self.host.spawn("/usr/bin/python3", "-B", SERVER, self.zone_path)
        assert self.server.stdout.readline() == "ready\n", "the name server runs"

    def conf(self, name, text):
        path = self.topology.path(name)
        bound = os.path.exists(path)
        self.topology.write(name, text)
        if not bound:
            self.host.run("mount", "--bind", path, f"/etc/{name}")

    def zone(self, content):
        with open(self.zone_path + ".new", "w", encoding="utf-8") as out:
            json.dump(content, out)
        os.replace(self.zone_path + ".new", self.zone_path)

    def policy(self, *names, file="policy.json", closed=False):
        """Everybody's programs may talk to all but these names; nobody is any of the program."""
        return self.topology.write(file, {
            "version": 1, "bypass_essential": ["arp", "nd", "dhcp", "ike"],
            "defaults": {"in": "bypass", "out": "bypass", "non_ip": "bypass"},
            "rules": [{"name": "closed", "action": "discard", "remote": "198.51.100.1"}]
            if closed else [],
            "applications": [{"name": "app", "match": {"executable": "/bin/true"}, "networks": [
                {"remote": list(names), "class": "untrusted"},
                {"remote": "any", "class": "trusted"}]}]})

    def attach(self, path, *options, check=True):
        return self.host.ipsecbpf("attach", net.IFNAME, "--cgroup", self.cgroup.top, "--policy", path,
                                  *options, check=check, timeout=60)

    def apply(self, path, *options, check=True):
        return self.host.ipsecbpf("policy", "apply", net.IFNAME, path, *options, check=check,
                                  timeout=60)

    def serial(self):
        return self.host.status()["policy_serial"]

    def stored(self):
        directory = f"{net.STATE_ROOT}/names"
        files = [name for name in self.host.run("ls", directory).stdout.split()
                 if not name.endswith(".new")]
        assert len(files) == 1, files
        return json.loads(self.host.run("cat", f"{directory}/{files[0]}").stdout)["names"]

    def addresses(self, name=NAME):
        return self.stored()[name]["addresses"]

    def watches(self):
        """The process ids of `app watch` on this host, without those that it asks by."""
        found = {}
        for pid in self.host.pids():
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as source:
                    words = source.read().split(b"\0")
                if words[1:3] == [b"app", b"watch"]:
                    found[pid] = parent_of(pid)
            except (FileNotFoundError, ProcessLookupError):
                continue
        return [pid for pid, parent in found.items() if parent not in found]

    def watch(self):
        """The one of the supervisor."""
        return net.wait_until(lambda: len(self.watches()) == 1 and self.watches(), "the watch")[0]

    def stop_watch(self):
        """Not killed: it would be started again. Nor within a look, where it may hold a lock."""
        watch = self.watch()
        net.wait_until(lambda: waits_for_signals(watch), "the watch is done with its look", 30)
        os.kill(watch, signal.SIGSTOP)


def waits_for_signals(pid):
    """It is in sigtimedwait(), and none has come that it would return. Signals that it waits for are
    blocked at any other time; the kernel tells both as they are at one instant."""
    with open(f"/proc/{pid}/status", encoding="ascii") as source:
        masks = {key: int(value, 16) for key, _, value in (line.partition(":") for line in source)
                 if key in ("ShdPnd", "SigBlk", "SigCgt")}
    hangup = 1 << (signal.SIGHUP - 1)
    return masks["SigCgt"] & hangup and not (masks["SigBlk"] | masks["ShdPnd"]) & hangup


def hurry(watch):
    """Has a watch look at all of its names now, not when their time has come."""
    net.wait_until(lambda: waits_for_signals(watch), "the watch is done with its look", 30)
    os.kill(watch, signal.SIGHUP)


def look(watch):
    """The same; returns when it has looked."""
    hurry(watch)
    net.wait_until(lambda: waits_for_signals(watch), "the watch has looked", 30)


@pytest.fixture
def names(product, lone):
    return Names(lone)


def test_addresses_ttl_and_origin_are_kept(names):
    names.attach(names.policy(NAME, "in-hosts.example.org"))
    stored = names.stored()
    assert stored[NAME]["addresses"] == ["192.0.2.1", "2001:db8::1"]
    assert stored[NAME]["ttl"] == 5 and stored[NAME]["secure"] is False
    assert stored["in-hosts.example.org"]["addresses"] == ["192.0.2.77"]
    assert stored["in-hosts.example.org"]["ttl"] == 0, "it is not from DNS"


@pytest.mark.parametrize("ad", [False, True])
def test_dnssec_state(names, ad):
    names.zone({NAME: {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"], "ad": ad}})
    names.attach(names.policy(NAME))
    assert names.stored()[NAME]["secure"] is ad


def test_dnssec_state_needs_both_answers(names):
    """That there is no address of IPv6 is an answer like any other."""
    names.zone({NAME: {"A": ["192.0.2.1"], "AAAA": [], "ad": True, "AAAA ad": False},
                OTHER: {"A": ["192.0.2.2"], "AAAA": [], "ad": True}})
    names.attach(names.policy(NAME, OTHER))
    assert names.stored()[NAME]["secure"] is False
    assert names.stored()[OTHER]["secure"] is True


def test_names_that_time_out_hold_up_no_other(names):
    """More of them than are asked at once, all before the good one, and known from before."""
    slow = [f"a{i}.example.org" for i in range(10)]
    good = {"A": ["192.0.2.1"], "AAAA": [], "ttl": 5}
    names.zone({name: good for name in slow + [NAME]})
    names.attach(names.policy(*slow, NAME))
    watch = names.watch()
    names.zone({name: {"A mode": "silent", "AAAA mode": "silent"} for name in slow} |
               {NAME: {"A": ["192.0.2.3"], "AAAA": [], "ttl": 5}})
    hurry(watch)
    net.wait_until(lambda: "192.0.2.3" in names.addresses(), "the good one's", 60)


def test_an_answer_that_no_policy_can_have_holds_up_no_other(names):
    """It is held back, with what the name had; the other name's is in force."""
    policy = json.loads(open(names.policy(NAME, OTHER), encoding="utf-8").read())
    policy["protections"] = {"esp": {"mode": "tunnel"}}
    policy["peers"] = {"b": {"addresses": ["10.9.0.2"]}}
    policy["applications"][0]["networks"] = [
        {"remote": OTHER, "class": "protected", "protect": [
            {"protocol": "tcp", "local_port": [1, 3, 5, 7, 9], "remote_port": list(range(1, 2001, 2)),
             "peer": "b", "protection": "esp"}]},
        {"remote": NAME, "class": "untrusted"}, {"remote": "any", "class": "trusted"}]
    few = {"A": ["198.51.100.9"], "AAAA": [], "ttl": 5}
    many = {"A": [f"198.51.{i // 120}.{2 * (i % 120) + 1}" for i in range(250)] +
                 [f"198.52.{i}.1" for i in range(6)], "AAAA": [], "ttl": 5}
    names.zone({NAME: {"A": ["192.0.2.1"], "AAAA": [], "ttl": 5}, OTHER: few})
    names.attach(names.topology.write("ports.json", policy))
    names.zone({NAME: {"A": ["192.0.2.3"], "AAAA": [], "ttl": 5}, OTHER: many})
    hurry(names.watch())
    net.wait_until(lambda: "192.0.2.3" in names.addresses(), "the other name's", 60)
    assert names.addresses(OTHER) == ["198.51.100.9"]


def test_names_of_names_and_many_addresses(names):
    many = [f"192.0.2.{i}" for i in range(1, 201)]
    names.zone({NAME: {"cname": OTHER, "ttl": 300}, OTHER: {"A": many, "AAAA": [], "ttl": 7}})
    names.attach(names.policy(NAME))
    assert names.addresses() == many, "by TCP, as they do not fit into a datagram"
    assert names.stored()[NAME]["ttl"] == 7, "the least of the chain"


@pytest.mark.parametrize("entry, why", [
    (None, "there is no such name"),
    ({"A": [], "AAAA": []}, "the name has no address"),
    ({"A mode": "servfail", "AAAA mode": "servfail"}, "the name server fails"),
    ({"A": ["192.0.2.1"], "AAAA mode": "servfail"}, "for one of IPv4 and IPv6 only"),
    ({"A": ["192.0.2.1"], "AAAA mode": "silent"}, ""),
    ({"A mode": "silent", "AAAA mode": "silent"}, ""),
    ({"A": ["192.0.2.1"], "A mode": "long record"}, ""),
    ({"A": ["192.0.2.1"], "A mode": "long count"}, ""),
    ({"A": ["192.0.2.1"], "A mode": "short"}, ""),
    ({"A": [f"192.0.{i // 250}.{i % 250 + 1}" for i in range(1000)]}, "more than 256 addresses"),
    ({"A": ["0.0.0.0"]}, "an address that no host has"),
    ({"A": ["192.0.2.1", "224.0.0.1"]}, "an address that no host has"),
], ids=lambda value: None)
def test_what_cannot_be_resolved(names, entry, why):
    """Of a name of which nothing is known: refused. Of one that is: what is known is used."""
    good = {NAME: {"A": ["192.0.2.9"], "AAAA": []}}
    path = names.policy(NAME)
    names.attach(names.policy("in-hosts.example.org", file="before.json"))
    serial = names.serial()
    names.zone({NAME: entry} if entry is not None else {})
    refused = names.apply(path, check=False)
    assert refused.returncode == 1
    assert f'host name "{NAME}": cannot be resolved' in refused.stderr and why in refused.stderr
    assert "and was not before" in refused.stderr and "next: getent ahosts" in refused.stderr
    assert names.serial() == serial
    names.zone(good)
    names.apply(path)
    names.zone({NAME: entry} if entry is not None else {})
    warned = names.apply(names.policy(NAME, file="changed.json", closed=True))
    assert "the 1 addresses that it had last are used" in warned.stderr and why in warned.stderr
    assert names.addresses() == ["192.0.2.9"]


def test_attach_without_a_name_server(names):
    path = names.policy(NAME)
    names.attach(path)
    names.host.ipsecbpf("detach", net.IFNAME, "--open")
    names.server.kill()
    names.server.wait()
    attached = names.attach(path)
    assert "the 2 addresses that it had last are used" in attached.stderr
    assert names.addresses() == ["192.0.2.1", "2001:db8::1"]
    names.host.ipsecbpf("detach", net.IFNAME, "--open")
    refused = names.attach(names.policy(OTHER), check=False)
    assert refused.returncode == 1 and "and was not before" in refused.stderr
    assert not names.host.attached()


def test_equal_text_with_other_addresses_is_another_policy(names):
    path = names.policy(NAME)
    late = {"AAAA": ["2001:db8::1"], "ttl": 3600}
    names.zone({NAME: {"A": ["192.0.2.1"], **late}})
    names.attach(path)
    names.stop_watch()
    assert "was in force already" in names.apply(path).stdout
    names.zone({NAME: {"A": ["192.0.2.2"], **late}})
    serial = names.serial()
    dry = names.apply(path, "--dry-run", check=False)
    assert names.addresses() == ["192.0.2.1", "2001:db8::1"], "a dry run keeps nothing"
    assert dry.returncode == 0 and names.serial() == serial
    assert " in force, " in names.apply(path).stdout
    assert names.serial() == serial + 1
    assert names.addresses() == ["192.0.2.1", "192.0.2.2", "2001:db8::1"], "the old one for a while"


def test_watch_follows_changes(names):
    """The one of the supervisor: changes are in force after the TTL, without anybody's doing."""
    names.attach(names.policy(NAME))
    watch, serial = names.watch(), names.serial()
    names.zone({NAME: {"A": ["192.0.2.3"], "AAAA": [], "ttl": 5}})
    net.wait_until(lambda: "192.0.2.3" in names.addresses(), "new addresses", 20)
    assert names.serial() == serial + 1
    os.kill(watch, signal.SIGKILL)
    names.zone({NAME: {"A": ["192.0.2.4"], "AAAA": [], "ttl": 5}})
    net.wait_until(lambda: "192.0.2.4" in names.addresses(), "those of another watch", 45)


def test_watch_begins_and_ends_with_the_names(names):
    names.attach(names.topology.write("plain.json", net.policy([])))
    assert names.watches() == []
    names.apply(names.policy(NAME))
    names.watch()
    names.apply(names.topology.path("plain.json"))
    net.wait_until(lambda: not names.watches(), "its end", 10)
    names.apply(names.policy(NAME))
    names.watch()
    os.kill(names.host.status()["supervisor_pid"], signal.SIGKILL)
    net.wait_until(lambda: not names.watches(), "that it ends with the supervisor", 10)


def test_detach_waits_for_the_watch(names):
    """A watch that is about to put something in force does so before, or never."""
    names.attach(names.policy(NAME))
    names.watch()
    names.host.ipsecbpf("detach", net.IFNAME, "--open")
    assert names.watches() == []


def test_watch_holds_no_descriptor_of_the_supervisor(names):
    """Between two looks, in which it opens files: its TTL leaves it at rest for an hour."""
    names.zone({NAME: {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"], "ttl": 3600}})
    names.attach(names.policy(NAME))
    pid = names.watch()
    net.wait_until(lambda: waits_for_signals(pid), "the watch is done with its look", 30)
    with open(f"/proc/{pid}/status", encoding="utf-8") as source:
        status = dict(line.rstrip("\n").split(":\t", 1) for line in source if ":\t" in line)
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")
    assert status["CapBnd"] == status["CapPrm"]
    targets = {os.readlink(f"/proc/{pid}/fd/{number}") for number in os.listdir(f"/proc/{pid}/fd")}
    assert waits_for_signals(pid)
    assert targets == {"/dev/null"}


def test_nothing_is_applied_during_a_trial(names):
    names.attach(names.policy(NAME))
    names.apply(names.policy(NAME, file="trial.json", closed=True), "--confirm", 60)
    serial = names.serial()
    names.zone({NAME: {"A": ["192.0.2.5"], "AAAA": [], "ttl": 5}})
    watch = names.host.spawn(net.IPSECBPF, "app", "watch", net.IFNAME)
    net.wait_until(lambda: len(names.watches()) == 2, "that one and the supervisor's", 10)
    for pid in names.watches():
        look(pid)
    assert names.serial() == serial and names.addresses() == ["192.0.2.1", "2001:db8::1"]
    names.host.ipsecbpf("policy", "confirm", net.IFNAME)
    net.wait_until(lambda: "192.0.2.5" in names.addresses(), "new addresses", 20)
    assert names.serial() == serial + 1
    watch.send_signal(signal.SIGTERM)
    assert watch.wait(timeout=30) == 0


def verdict(names, remote):
    """What becomes of the application's packets to that address, as `explain` says."""
    return names.host.ipsecbpf("explain", net.IFNAME, "out", "10.9.0.1", remote, "tcp", "80",
                               "--app", "app").stdout


@pytest.mark.parametrize("undo", [False, True])
def test_a_trial_that_ends_gives_its_addresses_back(names, undo):
    """Those of the policy before are in force again, and what DNS says now comes by the watch."""
    names.zone({NAME: {"A": ["192.0.2.1"], "AAAA": [], "ttl": 3600}})
    names.attach(names.policy(NAME))
    names.stop_watch()
    names.zone({NAME: {"A": ["192.0.2.2"], "AAAA": [], "ttl": 5}})
    names.apply(names.policy(NAME, file="trial.json", closed=True), "--confirm", 60 if undo else 5)
    assert "discard" in verdict(names, "192.0.2.2"), "that of the trial"
    assert names.addresses() == ["192.0.2.1"], "a trial is kept nowhere"
    if undo:
        names.host.ipsecbpf("policy", "confirm", net.IFNAME, "--undo")
    net.wait_until(lambda: names.serial() == 1, "the end of the trial", 20)
    assert "discard" in verdict(names, "192.0.2.1") and "discard" not in verdict(names, "192.0.2.2")
    os.kill(names.watch(), signal.SIGCONT)
    net.wait_until(lambda: "discard" in verdict(names, "192.0.2.2"), "what DNS says now", 20)


def test_a_confirmed_trial_is_kept_with_its_addresses(names):
    names.attach(names.policy(NAME))
    names.stop_watch()
    names.zone({NAME: {"A": ["192.0.2.2"], "AAAA": [], "ttl": 5}})
    names.apply(names.policy(NAME, file="trial.json", closed=True), "--confirm", 60)
    assert "192.0.2.2" not in names.addresses()
    names.host.ipsecbpf("policy", "confirm", net.IFNAME)
    assert "192.0.2.2" in names.addresses()


def test_nothing_depends_on_the_store(names):
    """It is only what the next policy begins with: the one in force goes on without it, and is followed."""
    names.attach(names.policy(NAME))
    names.stop_watch()
    names.zone({})
    names.host.run("sh", "-c", f"rm {net.STATE_ROOT}/names/*")
    names.host.ipsecbpf("stats", net.IFNAME, "--rules")
    names.host.ipsecbpf("app", "list", net.IFNAME)
    assert "discard" in verdict(names, "192.0.2.1")
    names.zone({NAME: {"A": ["192.0.2.99"], "AAAA": [], "ttl": 5}})
    os.kill(names.watch(), signal.SIGKILL)      # another one begins with nothing but the policy
    net.wait_until(lambda: "discard" in verdict(names, "192.0.2.99"), "what DNS says now", 30)


def test_app_names(names):
    """What is in force, and what the last look said."""
    names.zone({NAME: {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"], "ttl": 5, "ad": True}})
    names.attach(names.policy(NAME, "in-hosts.example.org"))

    def shown():
        text = names.host.ipsecbpf("-j", "app", "names", net.IFNAME).stdout
        return {entry["name"]: entry for entry in json.loads(text)["names"]}

    entry = shown()[NAME]
    assert entry["addresses"] == ["192.0.2.1", "2001:db8::1"] and entry["count"] == 2
    assert entry["ttl"] == 5 and entry["dnssec"] is True and entry["failure"] is None
    assert shown()["in-hosts.example.org"]["ttl"] is None
    text = names.host.ipsecbpf("app", "names", net.IFNAME).stdout
    assert "192.0.2.1" in text and "secure" in text and "not from DNS" in text
    names.zone({NAME: {"A mode": "servfail", "AAAA mode": "servfail"}})
    hurry(names.watch())
    net.wait_until(lambda: shown()[NAME]["failure"], "that it fails", 30)
    assert shown()[NAME]["addresses"] == ["192.0.2.1", "2001:db8::1"], "in force all the same"
    assert shown()[NAME]["resolved_at"] == entry["resolved_at"] or shown()[NAME]["resolved_at"] > 0
    names.apply(names.topology.write("plain.json", net.policy([])))
    assert "no host names" in names.host.ipsecbpf("app", "names", net.IFNAME).stdout


def keepers(names):
    """Who keeps the watch: the first keeps the second, which keeps the watch."""
    found = []
    for pid in names.host.pids():
        try:
            with open(f"/proc/{pid}/comm", encoding="ascii") as source:
                if source.read() == "ipsecbpf-names\n":
                    found.append((pid, parent_of(pid)))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return [pid for pid, parent in sorted(found, key=lambda item: item[1] in dict(found))]


def test_who_keeps_the_watch_may_die(names):
    """The keeper is started again; once nobody is left to do so, it is said."""
    names.attach(names.policy(NAME))
    first, (guard, keeper) = names.watch(), keepers(names)
    os.kill(keeper, signal.SIGKILL)
    net.wait_until(lambda: names.watches() and first not in names.watches(), "another watch", 20)
    assert keepers(names)[0] == guard and keeper not in keepers(names)
    problems = names.host.status()["problems"]
    assert not [item for item in problems if "host names" in item["cause"]]
    os.kill(guard, signal.SIGKILL)
    net.wait_until(lambda: [item for item in names.host.status()["problems"]
                            if "nobody follows host names" in item["cause"]], "the problem", 10)
    net.wait_until(lambda: not names.watches(), "the end of the watch", 10)
    warned = names.apply(names.policy(NAME, file="other.json", closed=True))
    assert "nobody follows the policy's host names" in warned.stderr


def test_what_cannot_be_kept_is_refused(names):
    """All or nothing: before anything is in force."""
    names.attach(names.policy(NAME))
    names.stop_watch()
    directory = f"{net.STATE_ROOT}/names"
    names.host.run("mount", "--bind", directory, directory)
    names.host.run("mount", "-o", "remount,bind,ro", directory)
    refused = names.apply(names.policy(NAME, file="other.json", closed=True), check=False)
    assert refused.returncode == 1 and "cannot keep what names were resolved to" in refused.stderr
    assert names.serial() == 1 and "discard" in verdict(names, "192.0.2.1")
    names.host.ipsecbpf("stats", net.IFNAME, "--rules")
    names.host.run("umount", directory)


def test_an_order_during_a_look_is_not_lost(names):
    """A policy that comes while the watch asks for names of the one before is looked after as well."""
    slow = {"A mode": "silent", "AAAA mode": "silent"}
    names.attach(names.policy(NAME))
    watch = names.watch()
    names.zone({NAME: slow, OTHER: {"A": ["192.0.2.50"], "AAAA": [], "ttl": 3600}})
    hurry(watch)

    def asking():
        with open(f"/proc/{watch}/task/{watch}/children", encoding="ascii") as source:
            return source.read().split()

    net.wait_until(asking, "that it asks", 20)
    names.apply(names.policy(OTHER, file="other.json"))
    names.zone({NAME: slow, OTHER: {"A": ["192.0.2.51"], "AAAA": [], "ttl": 3600}})
    net.wait_until(lambda: "discard" in verdict(names, "192.0.2.51"), "the new address", 60)


def test_watch_in_the_foreground_says_what_changed(names):
    names.attach(names.policy(NAME))
    names.stop_watch()
    watch = names.host.spawn(net.IPSECBPF, "app", "watch", net.IFNAME)
    names.zone({NAME: {"A": ["192.0.2.6"], "AAAA": ["2001:db8::1"], "ttl": 5}})
    hurry(watch.pid)
    said = watch.stdout.readline()
    assert f'host name "{NAME}": 192.0.2.1, 192.0.2.6, 2001:db8::1, before: 192.0.2.1' in said
    watch.send_signal(signal.SIGINT)
    assert watch.wait(timeout=30) == 0


def test_watch_needs_an_attachment(names):
    refused = names.host.ipsecbpf("app", "watch", net.IFNAME, check=False)
    assert refused.returncode == 1 and "not attached" in refused.stderr


def test_the_resolver_is_confined(names):
    """While it waits for an answer that does not come."""
    names.zone({NAME: {"A mode": "silent", "AAAA mode": "silent"}})
    before = set(names.host.pids())
    applying = names.host.spawn(net.IPSECBPF, "attach", net.IFNAME, "--cgroup", names.cgroup.top,
                                "--policy", names.policy(NAME), stderr=subprocess.STDOUT)

    def resolvers():
        found = []
        for pid in set(names.host.pids()) - before:
            try:
                status = dict(line.rstrip("\n").split(":\t", 1) for line in
                              open(f"/proc/{pid}/status", encoding="utf-8") if ":\t" in line)
            except (FileNotFoundError, ProcessLookupError):
                continue
            if status["Uid"].split() == ["2147483002"] * 4 and status["Seccomp"] == "2":
                found.append(status)
        return found

    status, = net.wait_until(resolvers, "the resolver", 10)
    assert all(int(status[name], 16) == 0 for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"))
    assert status["Gid"].split() == ["2147483002"] * 4 and status["Groups"].split() == []
    assert status["NoNewPrivs"] == "1"
    assert applying.wait(timeout=60) == 1
    assert resolvers() == []
