# SPDX-License-Identifier: BSD-2-Clause
"""Only what policy mandates is touched; a policy can be replaced, shown and compared."""
import json
import os
import re
import socket

import pytest

import sockets
import topology as net

EXAMPLES = os.path.join(net.HERE, "..", "..", "schemas", "examples", "good")


def only_port(peer, port):
    """UDP and TCP to one port of the peer are protected, both ways round; the rest is clear."""
    rules = [{"name": f"port {port} {side}", "action": "protect", "peer": "peer",
              "protection": "wire", "protocol": ["tcp", "udp"], f"{side}_port": port}
             for side in ("remote", "local")]
    return net.policy(rules, {"peer": [peer.address(4), peer.address(6)]},
                      {"wire": net.protection_of()},
                      defaults={"in": "bypass", "out": "bypass", "non_ip": "bypass"})


class Listener:
    """UDP on a port of a host, both families."""

    def __init__(self, host, port):
        self.sockets = {}
        for family, kind in ((4, socket.AF_INET), (6, socket.AF_INET6)):
            self.sockets[family] = host.socket(kind, socket.SOCK_DGRAM)
            self.sockets[family].bind((host.address(family), port))
            self.sockets[family].settimeout(5)

    def close(self):
        for opened in self.sockets.values():
            opened.close()


def say(host, address, port, payload):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with host.socket(family, socket.SOCK_DGRAM) as sender:
        sender.sendto(payload, (address, port))


def kinds(capture, payload_of=None):
    """Kinds of frames seen; with payload_of, only of frames that show it."""
    return {net.kind(f) for f in capture.taken() if payload_of is None or payload_of in f}


def attach_only_port(topology, port):
    a, b = topology.a, topology.b
    sas = topology.write("sa.json", net.both_ways(a, b), mode=0o600)
    for host, other in ((a, b), (b, a)):
        path = topology.write(f"{host.name}.json", only_port(other, port))
        host.ipsecbpf("attach", net.IFNAME, "--policy", path, "--sa", sas, "--fresh")


@pytest.fixture
def trio(product):
    """Two attached hosts and a third that knows nothing of IPsec."""
    with net.Topology(hosts=("a", "b", "c")) as topology:
        attach_only_port(topology, 5001)
        yield topology
    assert topology.residue() == []


def settle(topology, capture):
    """A datagram to a port where nobody listens: once it is recorded, all before it are."""
    say(topology.a, topology.b.address(4), 9, b"the end of the recording")
    capture.wait(lambda f: b"the end of the recording" in f, "the last frame", port="a")


def test_only_mandated_traffic_is_touched(trio):
    capture = trio.capture()
    shown = {}
    listeners = {(host.name, port): Listener(host, port)
                 for host in (trio.b, trio.c) for port in (5001, 5002)}
    try:
        for family in (4, 6):
            for (name, port), listener in listeners.items():
                host = getattr(trio, name)
                text = f"{name} {port} {family} in the clear?".encode()
                say(trio.a, host.address(family), port, text)
                assert listener.sockets[family].recv(100) == text
                shown[text] = set() if (name, port) == ("b", 5001) else {"clear"}
    finally:
        for listener in listeners.values():
            listener.close()
    settle(trio, capture)
    assert {text: kinds(capture, text) for text in shown} == shown
    assert "esp" in kinds(capture)


def test_mandated_traffic_is_refused_in_the_clear(trio):
    """Host a without its policy: b takes other ports from it, but not this one."""
    trio.a.ipsecbpf("detach", net.IFNAME, "--open")
    mandated, free = Listener(trio.b, 5001), Listener(trio.b, 5002)
    before = trio.b.drops("clear_text")
    for family in (4, 6):
        say(trio.a, trio.b.address(family), 5001, b"must not arrive")
        say(trio.a, trio.b.address(family), 5002, b"may arrive")
        assert free.sockets[family].recv(100) == b"may arrive"
        mandated.sockets[family].settimeout(0)
        with pytest.raises(BlockingIOError):
            mandated.sockets[family].recv(100)
    trio.b.wait_drop("clear_text", before, 2)
    mandated.close()
    free.close()


def test_second_policy_replaces_the_first(product, wire):
    attach_only_port(wire, 5001)
    capture = wire.capture()
    first, second = Listener(wire.b, 5001), Listener(wire.b, 5002)

    def protected():
        found = set()
        for port, listener in ((5001, first), (5002, second)):
            text = f"port {port} under this policy".encode()
            capture.clear()
            say(wire.a, wire.b.address(4), port, text)
            assert listener.sockets[4].recv(100) == text
            settle(wire, capture)
            if not kinds(capture, text):
                found.add(port)
        return found

    assert protected() == {5001}
    for host, other in ((wire.a, wire.b), (wire.b, wire.a)):
        path = wire.write(f"{host.name}2.json", only_port(other, 5002))
        host.ipsecbpf("policy", "apply", net.IFNAME, path)
    assert protected() == {5002}
    first.close()
    second.close()


def test_rejected_policy_leaves_the_old_one(pair):
    shown = pair.a.ipsecbpf("policy", "show", net.IFNAME).stdout
    bad = net.protect_all(pair.b)
    bad["rules"].append({"name": "typo", "action": "protekt"})
    done = pair.a.ipsecbpf("policy", "apply", net.IFNAME, pair.write("bad.json", bad), check=False)
    assert done.returncode == 1
    assert pair.a.ipsecbpf("policy", "show", net.IFNAME).stdout == shown
    pair.a.run("ping", "-c1", "-W5", pair.b.address(4))


def good_policies():
    names = sorted(os.listdir(EXAMPLES)) if os.path.isdir(EXAMPLES) else []
    return [name for name in names
            if name.endswith(".json") and name.split("-")[0] not in ("sa", "test")]


RICH = {
        "version": 1, "bypass_essential": ["arp", "nd"],
        "defaults": {"in": "discard", "out": "bypass", "non_ip": "discard"},
        "protections": {"strong": {"suites": ["chacha20poly1305", "aes256gcm16"]},
                        "proof": {"type": "authentication"}, "tunnel": {"mode": "tunnel"}},
        "peers": {"b": {"addresses": ["10.9.0.2", "fd00:9::2"]},
                  "gateway": {"addresses": ["10.9.0.254"]}},
        "rules": [
                {"name": "ssh", "action": "bypass", "protocol": "tcp", "local_port": 22,
                 "remote": ["192.0.2.0/24", "2001:db8::/32"]},
                {"name": "web", "action": "protect", "peer": "b", "protection": "strong",
                 "protocol": "tcp", "remote_port": [80, "8000-8100"]},
                {"name": "echo", "action": "protect", "peer": "b", "protection": "proof",
                 "protocol": "icmp", "icmp_type": 8, "direction": "out"},
                {"name": "site", "action": "protect", "peer": "gateway", "protection": "tunnel",
                 "remote": ["10.77.0.0/16", "10.78.0.1-10.78.0.9"]},
                {"name": "routed", "action": "discard", "direction": "out", "origin": "forwarded"},
                {"name": "here", "action": "bypass", "interface": "eth*", "remote": "10.9.0.0/24"},
        ],
}


def of_this_host(path):
    """An example whose users, groups and hosts need not be known here."""
    with open(path) as file:
        text = file.read()
    for word, number in (("alice", 4001), ("accounting", 4002)):
        text = re.sub(rf'"(user|group)": "{word}"', rf'"\1": {number}', text)
    return re.sub(r'"[a-z.]+\.example\.(org|com|net)"', '"198.51.100.77"', text)


@pytest.fixture
def cgroup():
    made = sockets.Cgroup()
    yield made
    made.close()


@pytest.mark.parametrize("name", ["rich"] + good_policies())
def test_show_applies_again_without_a_difference(product, cgroup, lone, name):
    if name == "rich":
        source = lone.write("policy.json", RICH)
    else:
        source = os.path.join(EXAMPLES, name)
        with open(source) as file:
            if "applications" in json.load(file):
                source = lone.write("here.json", of_this_host(source))
    host = lone.a
    # Where hooks may go that a policy with applications brings.
    host.ipsecbpf("attach", net.IFNAME, "--policy", source, "--cgroup", cgroup.top)
    shown = host.ipsecbpf("policy", "show", net.IFNAME).stdout
    json.loads(shown)
    again = lone.write("shown.json", shown)
    for path in (again, source):
        done = host.ipsecbpf("-j", "policy", "diff", net.IFNAME, path, check=False)
        assert done.returncode == 0, f"diff with {path}:\n{done.stdout}"
        assert json.loads(done.stdout)["changes"] == []
    serial = host.status()["policy_serial"]
    host.ipsecbpf("policy", "apply", net.IFNAME, again)
    assert host.status()["policy_serial"] == serial, "an equal policy was loaded again"
    assert host.ipsecbpf("policy", "show", net.IFNAME).stdout == shown


def test_diff_names_the_difference(pair):
    changed = net.protect_all(pair.b)
    changed["rules"].insert(0, {"name": "web in the clear", "action": "bypass", "protocol": "tcp",
                                "remote_port": 80})
    done = pair.a.ipsecbpf("policy", "diff", net.IFNAME, pair.write("c.json", changed), check=False)
    assert done.returncode == 1
    assert "web in the clear" in done.stdout
