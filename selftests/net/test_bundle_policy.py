# SPDX-License-Identifier: BSD-2-Clause
"""Protections within protections: which ids they get, and which SAs may serve them."""
import copy
import json
import struct

import pytest

import topology as net

PROTECTIONS = {"inner": {"within": "outer", "fragments": "discard"},
               "outer": {"within": {"peer": "gateway", "protection": "site"}},
               "site": {"mode": "tunnel"}, "signed": {"protocol": "ah"}}


def bundle_policy(topology, **changes):
    b = topology.b
    protections = copy.deepcopy(PROTECTIONS)
    for name, values in changes.items():
        protections[name].update(values)
    rules = [{"name": "tcp", "protocol": "tcp", "action": "protect", "peer": "b",
              "protection": "inner"},
             {"name": "udp", "protocol": "udp", "action": "protect", "peer": "b",
              "protection": "signed"}]
    peers = {"b": [b.address(4), b.address(6)], "gateway": ["10.9.0.254"]}
    return net.policy(rules, peers, protections)


def live_pairs(host):
    """{(peer, protection): (id, id of the pair around it)} as pinned."""
    dump = json.loads(host.run("bpftool", "-j", "map", "dump", "pinned",
                               f"{net.PIN_ROOT}/{host.key}/maps/protections").stdout)

    def octets(values):
        return bytes(int(value, 16) for value in values)

    def name(text):
        return text.split(b"\0")[0].decode()
    return {(name(key[4:68]), name(key[68:])): struct.unpack("=II", value[:8])
            for key, value in ((octets(e["key"]), octets(e["value"])) for e in dump)}


@pytest.fixture
def attached(product, wire):
    wire.a.ipsecbpf("attach", net.IFNAME, "--policy",
                    wire.write("policy.json", bundle_policy(wire)))
    return wire


def apply(topology, **changes):
    topology.a.ipsecbpf("policy", "apply", net.IFNAME,
                        topology.write("changed.json", bundle_policy(topology, **changes)))
    return live_pairs(topology.a)


INNER, OUTER, SITE, SIGNED = ("b", "inner"), ("b", "outer"), ("gateway", "site"), ("b", "signed")


def test_ids_of_pairs_around_others(attached):
    pairs = live_pairs(attached.a)
    assert set(pairs) == {INNER, OUTER, SITE, SIGNED}
    assert len({number for number, _ in pairs.values()}) == 4
    assert pairs[SITE][1] == pairs[SIGNED][1] == 0
    assert pairs[OUTER][1] == pairs[SITE][0]
    assert pairs[INNER][1] == pairs[OUTER][0]


@pytest.mark.parametrize("changes, renewed", [
        ({"site": {"suites": ["aes256gcm16"]}}, {INNER, OUTER, SITE}),
        ({"outer": {"fragments": "discard"}}, {INNER, OUTER}),
        ({"inner": {"within": {"peer": "b", "protection": "outer"}}}, set()),
        ({"signed": {"suites": ["sha512"]}}, {SIGNED}),
], ids=["outermost", "middle", "same said otherwise", "another"])
def test_a_change_renews_what_lies_inside(attached, changes, renewed):
    before = live_pairs(attached.a)
    after = apply(attached, **changes)
    assert {pair for pair in after if after[pair][0] != before[pair][0]} == renewed
    assert after[OUTER][1] == after[SITE][0] and after[INNER][1] == after[OUTER][0]
    assert apply(attached, **changes) == after, "the same policy again"


def test_pairs_around_nothing_are_forgotten(attached):
    before = live_pairs(attached.a)
    after = apply(attached, inner={"within": "signed"})
    assert set(after) == {INNER, SIGNED}
    assert after[SIGNED] == before[SIGNED]
    assert after[INNER][0] != before[INNER][0] and after[INNER][1] == after[SIGNED][0]


def sa_apply(topology, **values):
    sas = net.both_ways(topology.a, topology.b, families=(4,), protection="inner")
    sas["sas"][0].update(values)
    if values.get("proto") == "ah":
        del sas["sas"][0]["key"]
    return topology.a.ipsecbpf("sa", "apply", net.IFNAME, "--fresh",
                               topology.write("sa.json", sas, mode=0o600), check=False)


def test_sas_of_a_bundle_are_taken(attached):
    done = sa_apply(attached)
    assert done.returncode == 0, done.stderr


def test_an_outer_pair_renewed_alone_renews_the_inner(attached):
    """As after an apply that was interrupted: the definitions are equal, the outer id is not."""
    a = attached.a
    assert sa_apply(attached, protection="outer").returncode == 0   # its SA keeps the old id taken
    before = live_pairs(a)
    generation = struct.pack("=I", a.status()["policy_serial"] % 2)
    key = generation + b"".join(name.encode().ljust(64, b"\0") for name in OUTER)
    a.run("bpftool", "map", "delete", "pinned", f"{net.PIN_ROOT}/{a.key}/maps/protections", "key",
          *key)
    after = apply(attached)
    assert after[OUTER][0] != before[OUTER][0] and after[SITE] == before[SITE]
    assert after[INNER] != before[INNER] and after[INNER][1] == after[OUTER][0]
    assert after[INNER][0] != before[INNER][0]


@pytest.mark.parametrize("values, says", [
        ({"protection": "signed"}, ["is ESP", "\"signed\" says AH"]),
        ({"proto": "ah", "suite": "sha256", "auth_key": "5a" * 32}, ["is AH", "\"inner\" says ESP"]),
        ({"protection": "signed", "proto": "ah", "suite": "sha512", "auth_key": "5a" * 64},
         ["\"signed\" does not allow suite sha512"]),
        ({"encap": {"sport": 4500, "dport": 4500}},
         ["has \"encap\", but protection \"inner\" lies within \"outer\"", "outermost"]),
        ({"protection": "site", "mode": "tunnel"}, ["no rule of the live policy", "\"site\""]),
], ids=["ESP for AH", "AH for ESP", "AH suite", "UDP inside", "the outer pair's peer is another"])
def test_sas_that_do_not_fit(attached, values, says):
    done = sa_apply(attached, **values)
    assert done.returncode == 1
    for text in says:
        assert text in done.stderr, done.stderr
    assert attached.a.json("sa", "list", net.IFNAME)["sas"] == []


def test_next_hop_is_the_outermost_ones(attached):
    changes = {"inner": {"mode": "tunnel"}}
    policy = bundle_policy(attached, **changes)
    policy["rules"][0]["remote"] = attached.b.address(4)
    attached.a.ipsecbpf("policy", "apply", net.IFNAME, attached.write("tunnel.json", policy))
    sas = net.both_ways(attached.a, attached.b, families=(4,), protection="inner", mode="tunnel")
    sas["sas"][0]["next_hop"] = "10.9.0.254"
    done = attached.a.ipsecbpf("sa", "apply", net.IFNAME, "--fresh",
                               attached.write("sa.json", sas, mode=0o600), check=False)
    assert done.returncode == 1
    assert "has \"next_hop\", but protection \"inner\" lies within" in done.stderr, done.stderr
