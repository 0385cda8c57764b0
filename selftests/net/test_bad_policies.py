# SPDX-License-Identifier: BSD-2-Clause
"""Policies that are too large, too deep, or not what they should be, on a host that works: each is
refused in good time with place and reason, and the policy in force goes on deciding as before."""
import json
import re

import pytest

import topology as net
from test_bad_input import live, snapshot

MEGA = 10 ** 6


def base(rules="[]", **more):
    """A policy as text, closed but for `rules`, which is text as well."""
    head = json.dumps(net.policy([], **more))[:-len("[]}")]
    return f"{head}{rules}}}"


def million_rules():
    rules = ",\n".join(f'{{"name":"{i}","remote":"10.{i >> 16}.{i >> 8 & 255}.{i & 255}",'
                       '"action":"discard"}' for i in range(MEGA))
    return base(f"[\n{rules}]")


def one(**selectors):
    return base(json.dumps([{"name": "one", "action": "bypass", **selectors}]))


EVERY_OTHER = list(range(0, 2000, 2))
PLACE = r"bad\.json:\d+:\d+: "
UNDECODABLE = PLACE + "not valid JSON: unable to decode byte"

# name, text (a function makes those that are large), what is said
CASES = [
    ("10 MB of errors", lambda: base("[" + ",\n".join(['{"nmae":"x","action":"pass"}'] * 360_000) + "]"),
     PLACE + r".*360000 elements: more than the limit of \d+"),
    ("10 MB in one word", lambda: base('"' + "x" * 10 * MEGA + '"'), PLACE + "rules: must be an array"),
    ("10 MB of nothing", lambda: " " * 10 * MEGA, PLACE + "not valid JSON"),
    ("a million rules", million_rules,
     r"bad\.json.*(1000000 elements: more than the limit of \d+|larger than \d+ MiB)"),
    ("more than is read", lambda: base() + " " * (65 << 20), r"bad\.json: larger than \d+ MiB"),
    ("deep arrays", lambda: base("[" * MEGA + "]" * MEGA), PLACE + "not valid JSON: maximum.*depth"),
    ("deep objects", lambda: base('{"rules":' * MEGA + "1" + "}" * MEGA),
     PLACE + "not valid JSON: maximum.*depth"),
    ("not UTF-8", one().encode().replace(b"one", b"on\xff"), UNDECODABLE),
    ("UTF-8 cut short", one().encode().replace(b"one", b"on\xe2\x82"), UNDECODABLE),
    ("overlong UTF-8", one().encode().replace(b"one", b"on\xc0\x80"), UNDECODABLE),
    ("a surrogate in UTF-8", one().encode().replace(b"one", b"\xed\xa0\x80"), UNDECODABLE),
    ("UTF-16", one().encode("utf-16"), PLACE + "not valid JSON"),
    ("addresses reversed", one(remote="10.0.0.9-10.0.0.1"), PLACE + "rule \"one\".*ends before it begins"),
    ("addresses of two families", one(remote="10.0.0.1-fd00::1"), PLACE + ".*one address family"),
    ("host bits", one(remote="fd00::1/64"), PLACE + ".*bits are set behind the prefix length"),
    ("prefix length", one(local="10.0.0.0/33"), PLACE + ".*at most 32"),
    ("ports reversed", one(protocol="tcp", local_port="2000-1000"), PLACE + ".*\"2000-1000\" is not a range"),
    ("port out of range", one(protocol="tcp", local_port=65536), PLACE + ".*65536 is out of range 0-65535"),
    ("protocol out of range", one(protocol=256), PLACE + ".*256 is out of range 0-255"),
    ("ICMP type out of range", one(protocol="icmp", icmp_type=256), PLACE + ".*256 is out of range 0-255"),
    ("VLAN out of range", one(vlan=4095), PLACE + ".*4095 is out of range 0-4094"),
    ("DSCP out of range", one(dscp=64), PLACE + ".*64 is out of range 0-63"),
    ("negative", one(protocol="tcp", local_port=-1), PLACE + ".*-1 is out of range"),
    ("number of 30 digits", one(protocol=10 ** 30), PLACE + "not valid JSON: too big integer"),
    ("a schema of the future", base(version=2), PLACE + "version: version 2 is not known"),
    ("a peer's address twice", base(peers={"p": ["192.0.2.1"], "q": ["192.0.2.1"]}),
     PLACE + "peer \"q\".*192.0.2.1"),
    ("too much to compile", one(protocol=["tcp", "udp"], local_port=EVERY_OTHER, remote_port=EVERY_OTHER),
     r"entries, and the limit is \d+: rule \"one\""),
]


@pytest.fixture(scope="module")
def attached(product):
    from conftest import attach_pair
    with net.Topology() as topology:
        attach_pair(topology)
        for host, other in (topology.hosts, topology.hosts[::-1]):
            path = topology.write(f"policy-{host.name}.json", deciding(other))
            host.ipsecbpf("policy", "apply", net.IFNAME, path)
        topology.decided = verdicts(topology)
        yield topology
    assert topology.residue() == []


def deciding(peer):
    """Protects all but what goes to two ports."""
    policy = net.protect_all(peer)
    policy["rules"] = [{"name": action, "action": action, "protocol": "udp", "remote_port": port}
                       for action, port in (("bypass", 7002), ("discard", 7003))] + policy["rules"]
    return policy


def verdicts(topology):
    """Of one packet for each rule, from the hooks: which rule and what came of it."""
    peer = topology.b.address(4)
    return [topology.a.ipsecbpf("explain", net.IFNAME, "out", topology.a.address(4), peer, "udp",
                                "1000", str(port)).stdout for port in (7001, 7002, 7003)]


@pytest.mark.parametrize("text, says", [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_refused(attached, text, says):
    a = attached.a
    data = text() if callable(text) else text
    path = attached.path("bad.json")
    with open(path, "wb") as file:
        file.write(data if isinstance(data, bytes) else data.encode())
    before = snapshot(attached), live(attached)
    done = a.ipsecbpf("policy", "apply", net.IFNAME, path, check=False)
    assert done.returncode == 1 and re.search(says, done.stderr), done.stderr[:2000]
    assert len(done.stderr) < 10_000, "nobody reads that"
    assert (snapshot(attached), live(attached)) == before
    a.run("ping", "-c1", "-W5", attached.b.address(4))


def test_packets_are_decided_as_before(attached):
    words = [re.search(r'by +rules\[\d\] "(\w+)"', text)[1] for text in attached.decided]
    assert words == ["everything", "bypass", "discard"]
    assert verdicts(attached) == attached.decided
