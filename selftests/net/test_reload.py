# SPDX-License-Identifier: BSD-2-Clause
"""Policies change while real traffic flows: what is bypassed loses nothing, what is protected is never
seen in the clear, what is discarded never passes. And `policy apply` killed at any moment."""
import json
import os
import random
import socket
import struct
import subprocess
import threading
import time

import pytest

import topology as net

RELOADS = 300
KILLS = 50
TRIALS = 4              # of 2 s, that nobody confirms, among the reloads
PORTS = {"protected": 7001, "bypassed": 7002, "discarded": 7003}
HIDDEN = b"never on the wire in the clear"
LARGE = 2000
TICK = 0.005            # seconds from one datagram of each flow to the next
SO_RCVBUFFORCE = 33
KINDS = {4: socket.AF_INET, 6: socket.AF_INET6}


# ---- policies ------------------------------------------------------------------------------------

def flow_rules():
    """In both directions: this host's packets go to the port, the other's come from it."""
    port = {flow: {"protocol": "udp", "remote_port": number, "local_port": number}
            for flow, number in PORTS.items()}
    return [{"name": "protected", "action": "protect", "peer": "peer", "protection": "wire",
             **port["protected"]},
            {"name": "bypassed", "action": "bypass", **port["bypassed"]},
            {"name": "discarded", "action": "discard", **port["discarded"]}]


def others(count, seed):
    """Rules that decide nothing here, some about addresses and ports next to those that do."""
    dice = random.Random(seed)
    rules = []
    for number in range(count):
        rule = {"name": f"other {number}", "action": dice.choice(["bypass", "discard"])}
        kind = dice.randrange(3)
        if kind == 0:
            rule["remote"] = f"10.{100 + number // 256}.{number % 256}.0/24"
        elif kind == 1:
            rule.update(protocol="udp", remote_port=8000 + number)
        else:
            rule.update(remote="10.9.0.0/24", protocol="tcp", local_port=f"{4 * number}-{4 * number + 2}")
        rules.append(rule)
    return rules


def reloaded(peer, count, seed, name="peer"):
    """A policy of so many rules, in an order of its own; the flows are always decided alike."""
    dice = random.Random(seed)
    rules = others(count - len(PORTS), seed)
    for rule in flow_rules():
        if rule["action"] == "protect":
            rule["peer"] = name
        rules.insert(dice.randrange(len(rules) + 1), rule)
    # An opposite default shows what has found no rule.
    word = dice.choice(["bypass", "discard"])
    return net.policy(rules, {name: [peer.address(4), peer.address(6)],
                              f"unused {seed}": ["192.0.2.1"]}, {"wire": net.protection_of()},
                      defaults={"in": word, "out": word, "non_ip": "discard"})


def counterpart(peer):
    """The other host's: it lets go what is to be discarded here."""
    policy = reloaded(peer, 3, 0)
    for rule in policy["rules"]:
        if rule["name"] == "discarded":
            rule["action"] = "bypass"
    return policy


# ---- traffic -------------------------------------------------------------------------------------

class Flows:
    """Numbered datagrams of all flows between two hosts: both ways, in both families."""

    def __init__(self, *hosts):
        self.sent = 0           # of each flow, family and host
        self.stopping = threading.Event()
        self.ends = {(flow, family, host): self._open(flow, family, host, other)
                     for flow in PORTS for family in KINDS
                     for host, other in (hosts, hosts[::-1])}
        self.got = {key: [] for key in self.ends}
        # What the first host is to discard it lets nobody see; what comes from the other is seen.
        self.payload = {key: HIDDEN if key[0] == "protected" or key[::2] == ("discarded", hosts[0])
                        else b"may be seen" for key in self.ends}
        self.threads = [threading.Thread(target=self._receive, args=key) for key in self.ends]
        self.threads.append(threading.Thread(target=self._send))
        for thread in self.threads:
            thread.start()

    @staticmethod
    def _open(flow, family, host, other):
        end = host.socket(KINDS[family], socket.SOCK_DGRAM)
        end.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 16 << 20)
        end.bind((host.address(family), PORTS[flow]))
        end.connect((other.address(family), PORTS[flow]))
        end.settimeout(0.2)
        return end

    def _send(self):
        while not self.stopping.wait(TICK):
            for key, end in self.ends.items():
                end.send(struct.pack("!Q", self.sent) + self.payload[key])
            self.sent += 1

    def _receive(self, *key):
        while True:
            try:
                self.got[key].append(struct.unpack("!Q", self.ends[key].recv(100)[:8])[0])
            except socket.timeout:
                if self.stopping.is_set():
                    return

    def close(self):
        """Ends when nothing has come for a while."""
        self.stopping.set()
        for thread in self.threads:
            thread.join()
        for end in self.ends.values():
            end.close()

    def count(self, flow):
        """How many have arrived of each family at each host; a hole or a repetition fails."""
        counts = set()
        for key, got in self.got.items():
            if key[0] == flow:
                assert sorted(got) == list(range(len(got))), (key[:2], key[2].name)
                counts.add(len(got))
        return counts


def warm_up(a, b):
    """Neighbours are known: whom to ask for them is policy's business, too."""
    for host, other in ((a, b), (b, a)):
        for family in KINDS:
            host.neighbour(other.address(family), other.mac)


def attach_reloading(topology):
    a, b = topology.a, topology.b
    warm_up(a, b)
    sas = topology.write("sa.json", net.both_ways(a, b), mode=0o600)
    policies = {a: reloaded(b, 10, 0), b: counterpart(a)}
    for host, policy in policies.items():
        path = topology.write(f"policy-{host.name}.json", policy)
        host.ipsecbpf("attach", net.IFNAME, "--policy", path, "--sa", sas, "--fresh")


def reload(topology, paths):
    """All of the reloads. A trial that runs out goes back to the policy before."""
    a = topology.a
    for number in range(RELOADS):
        path = paths[number % len(paths)]
        if (number + 1) % (RELOADS // TRIALS):
            a.ipsecbpf("policy", "apply", net.IFNAME, path)
            continue
        before = shown(a)
        a.ipsecbpf("policy", "apply", net.IFNAME, path, "--confirm", 2)
        net.wait_until(lambda: a.status()["confirm_left"] is None, "the end of the trial", 10)
        assert shown(a) == before


def clear_as_sent(seen, flows):
    """Three datagrams of each step went in the clear; hosts say a little of themselves meanwhile."""
    return 0 <= seen["clear"] - 2 * 3 * flows.sent <= 8


def test_reload_under_traffic(product, wire):
    a, b = wire.a, wire.b
    attach_reloading(wire)
    paths = [wire.write(f"reload-{seed}.json", reloaded(b, LARGE if seed % 2 else 10, seed))
             for seed in range(1, 13)]
    before = {host: host.drops() for host in wire.hosts}
    count = wire.wirecount("-m", HIDDEN.decode())
    flows = Flows(a, b)
    try:
        reload(wire, paths)
    finally:
        flows.close()
    seen = count.stop()
    print(f"{RELOADS} reloads, 12 flows of {flows.sent} datagrams each")
    assert flows.count("bypassed") == flows.count("protected") == {flows.sent}
    assert flows.count("discarded") == {0}, "what policy discards has passed"
    assert seen["marker"] == 0, seen
    # in two families: what is bypassed both ways, and what b sends for a to discard
    assert seen["esp"] == 2 * 2 * flows.sent, seen
    assert clear_as_sent(seen, flows), seen
    after = {host: host.drops() for host in wire.hosts}
    assert after[a]["policy_discard"] - before[a]["policy_discard"] >= 2 * 2 * flows.sent
    for host in wire.hosts:
        risen = {reason for reason in after[host] if after[host][reason] != before[host][reason]}
        assert risen <= {"policy_discard", "non_ip"}, risen


def test_a_peer_by_another_name(product, wire):
    """The SAs were made for a pair by its names: under others they protect nothing, which is said,
    and nothing goes in the clear for that."""
    a, b = wire.a, wire.b
    attach_reloading(wire)
    count = wire.wirecount("-m", HIDDEN.decode())
    flows = Flows(a, b)
    lost = a.drops("no_sa_out")
    try:
        for number in range(10):
            path = wire.write("renamed.json", reloaded(b, 10, number, name=f"peer {number}"))
            said = a.ipsecbpf("policy", "apply", net.IFNAME, path).stderr
            assert "protect nothing now" in said
        a.wait_drop("no_sa_out", lost, 10)
    finally:
        flows.close()
    seen = count.stop()
    assert flows.count("bypassed") == {flows.sent} and flows.count("discarded") == {0}
    assert seen["marker"] == 0 and clear_as_sent(seen, flows), seen


# ---- killed --------------------------------------------------------------------------------------

def shown(host):
    return host.ipsecbpf("policy", "show", net.IFNAME).stdout


def kept(host):
    """The last good policy, and what else is in its directory."""
    names = host.run("ls", f"{net.STATE_ROOT}/policy").stdout.split()
    files = [name for name in names if not name.endswith(".new")]
    assert len(files) == 1 and len(names) <= 2, names
    return host.run("cat", f"{net.STATE_ROOT}/policy/{files[0]}").stdout, len(names)


def elements(host, name):
    """Keys of a pinned map that are in use."""
    path = os.path.join(net.PIN_ROOT, host.key, "maps", name)
    dump = json.loads(net.run_command(["bpftool", "-j", "map", "dump", "pinned", path]).stdout)
    return len([e for e in dump if not isinstance(e.get("value"), dict) or "error" not in e["value"]])


GENERATION_MAPS = ("spd", "policy_text", "rule_counts", "protections")


@pytest.fixture
def lone_policies(product, lone):
    """One host; two policies of some size, unlike each other."""
    other = type("Peer", (), {"address": lambda self, family: "10.9.0.2" if family == 4
                              else "fd00:9::2"})()
    paths = [lone.write(f"policy-{seed}.json", reloaded(other, 700 + 600 * seed, seed))
             for seed in range(2)]
    lone.a.ipsecbpf("attach", net.IFNAME, "--policy", paths[0])
    return lone, paths


def apply_and_kill(host, path, seconds):
    process = subprocess.Popen(host.enter() + [net.IPSECBPF, "policy", "apply", net.IFNAME, path],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def measure(host, paths):
    """Both texts, and how long it takes from one to the other, in seconds."""
    texts = [shown(host)]
    start = time.monotonic()
    host.ipsecbpf("policy", "apply", net.IFNAME, paths[1])
    texts.append(shown(host))
    host.ipsecbpf("policy", "apply", net.IFNAME, paths[0])
    return texts, (time.monotonic() - start) / 2


def test_killed_at_any_moment(lone_policies):
    """The old policy or the new one, whole; the next apply works and leaves nothing behind."""
    topology, paths = lone_policies
    a, dice = topology.a, random.Random(4)
    texts, whole = measure(a, paths)
    tidy = {name: elements(a, name) for name in GENERATION_MAPS}
    pids, outcomes = sorted(a.pids()), []
    for number in range(KILLS):
        new = 1 - number % 2
        apply_and_kill(a, paths[new], dice.uniform(0.1, 1.1) * whole)
        found = shown(a)
        assert found in texts, "neither the old policy nor the new one"
        outcomes.append(found == texts[new])
        assert kept(a)[0] in texts
        assert all(elements(a, name) <= 2 * tidy[name] for name in GENERATION_MAPS)
        a.ipsecbpf("policy", "apply", net.IFNAME, paths[new])
        assert shown(a) == texts[new] and kept(a) == (texts[new], 1)
        assert {name: elements(a, name) for name in GENERATION_MAPS} == tidy
    print(f"{KILLS} killed: {sum(outcomes)} after the flip")
    assert set(outcomes) == {True, False}, "the kills did not spread over the command"
    assert sorted(a.pids()) == pids
