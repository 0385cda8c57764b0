# SPDX-License-Identifier: BSD-2-Clause
"""What is refused says what, why and what next; changes nothing; leaves nothing behind."""
import json
import os
import re

import pytest

import topology as net


class Case:
    """One command that must be refused.

    arguments(topology) gives the command line. says: regular expressions that must all be found
    in the messages (object, cause and next step together). code: the exit code.
    """

    def __init__(self, name, arguments, says, code=1, input=None):
        self.name, self.arguments, self.says = name, arguments, says
        self.code, self.input = code, input


def good_policy(topology):
    return net.protect_all(topology.b)


def good_sas(topology):
    return net.both_ways(topology.a, topology.b)


def policy_case(name, change, *says):
    """`policy apply` of the good policy after change(document)."""
    def arguments(topology):
        document = good_policy(topology)
        changed = change(document)
        text = changed if isinstance(changed, str) else document
        return ["policy", "apply", net.IFNAME, topology.write("bad-policy.json", text)]
    return Case(name, arguments, says)


def sa_case(name, change, *says, mode=0o600):
    """`sa apply` of the live SAs' file after change(document)."""
    def arguments(topology):
        with open(topology.path("sa.json")) as file:
            document = json.load(file)
        changed = change(document)
        text = changed if isinstance(changed, str) else document
        return ["sa", "apply", net.IFNAME, topology.write("bad-sa.json", text, mode=mode)]
    return Case(name, arguments, says)


def set_rule(**values):
    return lambda document: document["rules"][0].update(values)


def set_sa(**values):
    return lambda document: document["sas"][0].update(values)


def other_key(document):
    key = document["sas"][0]["key"]
    document["sas"][0]["key"] = ("0" if key[0] != "0" else "1") + key[1:]


def duplicate_key(document):
    return json.dumps(document).replace('"version": 1', '"version": 1, "version": 1', 1)


# Three lines, and the mistake is at line 3, column 11 or where the value ends.
MALFORMED = '{\n  "version": 1,\n  "rules": [}\n}\n'

POLICY_CASES = [
        policy_case("malformed", lambda d: MALFORMED, r"bad-policy\.json:3:1[0-3]\b"),
        policy_case("empty file", lambda d: "", r"bad-policy\.json"),
        policy_case("unknown key", lambda d: d.update(ruels=[]), r"ruels", r":\d+:\d+"),
        policy_case("unknown key in a rule", set_rule(actoin="bypass"), r"actoin", r":\d+:\d+"),
        policy_case("duplicate key", duplicate_key, r"(?i)duplicate|twice", r"version"),
        policy_case("unknown action", set_rule(action="protekt"), r"protekt", r"protect"),
        policy_case("unknown peer", set_rule(peer="pear"), r"pear"),
        policy_case("unknown protection", set_rule(protection="wier"), r"wier"),
        policy_case("unknown suite", lambda d: d["protections"]["wire"].update(suites=["rot13"]),
                    r"rot13"),
        policy_case("host bits", set_rule(remote="10.9.0.2/24"), r"10\.9\.0\.2/24"),
        policy_case("not an address", set_rule(remote="10.9.0.256"), r"10\.9\.0\.256"),
        policy_case("remote outside the peer", set_rule(remote="192.0.2.1"), r"peer"),
        policy_case("ports without protocol", set_rule(remote_port=80), r"(?i)protocol"),
        policy_case("port range", set_rule(protocol="tcp", remote_port="2000-1000"), r"2000-1000"),
        policy_case("icmp type of tcp", set_rule(protocol="tcp", icmp_type=8), r"(?i)icmp"),
        policy_case("level", lambda d: d["protections"]["wire"].update(level="sometimes"),
                    r"sometimes", r"mandatory"),
        policy_case("version", lambda d: d.update(version=2), r"version"),
        policy_case("missing defaults", lambda d: d.pop("defaults") and None, r"defaults"),
        policy_case("unreachable rule", lambda d: d["rules"].append(
                {"name": "never", "action": "bypass", "remote": "10.9.0.2"}),
                r"never", r"everything"),
        policy_case("all errors at once", lambda d: (
                set_rule(action="protekt")(d),
        d["rules"].append({"name": "b", "action": "bypas"})) and None,
                r"protekt", r"bypas\b"),
        Case("missing file", lambda t: ["policy", "apply", net.IFNAME, "/nowhere/policy.json"],
             [r"/nowhere/policy\.json", r"(?i)no such file"]),
        Case("policy from stdin", lambda t: ["policy", "apply", net.IFNAME, "-"],
             [r"(?i)stdin|standard input|-:3:1", r":3:1[0-3]\b"], input=MALFORMED),
]

SA_CASES = [
        sa_case("malformed SA file", lambda d: MALFORMED, r"bad-sa\.json:3:1[0-3]\b"),
        sa_case("key too short", lambda d: d["sas"][0].update(key=d["sas"][0]["key"][:-2]),
                r"aes128gcm16", r"\b20\b", r"\b19\b"),
        sa_case("key too long", lambda d: d["sas"][0].update(key=d["sas"][0]["key"] + "00"),
                r"aes128gcm16", r"\b20\b", r"\b21\b"),
        sa_case("odd hex", lambda d: d["sas"][0].update(key=d["sas"][0]["key"][:-1]), r"(?i)hex"),
        sa_case("not hex", lambda d: d["sas"][0].update(key="zz" * 20), r"(?i)hex"),
        sa_case("missing auth_key", lambda d: d["sas"][0].update(suite="aes128-sha256"),
                r"auth_key|key"),
        sa_case("SPI 255", set_sa(spi=255), r"spi|SPI", r"255|256"),
        sa_case("SPI too large", set_sa(spi="0x100000000"), r"spi|SPI"),
        sa_case("replay window", set_sa(replay_window=5000), r"4096"),
        sa_case("families", set_sa(dst="fd00:9::2"), r"fd00:9::2|(?i:famil)"),
        sa_case("unknown suite of an SA", set_sa(suite="aes512"), r"aes512"),
        sa_case("unknown protection of an SA", set_sa(protection="wier"), r"wier"),
        sa_case("unknown key in an SA", set_sa(kye="00"), r"kye"),
        sa_case("same SPI, other key", other_key, r"(?i)0x0*1040", r"(?i)key"),
        sa_case("SA between strangers", set_sa(src="192.0.2.1", dst="192.0.2.2"), r"192\.0\.2\.\d"),
        sa_case("world-readable", lambda d: None, r"bad-sa\.json", r"(?i)chmod|0?600", mode=0o644),
        sa_case("group-readable", lambda d: None, r"bad-sa\.json", r"(?i)chmod|0?600", mode=0o640),
]

CLI_CASES = [
        Case("second attach", lambda t: ["attach", net.IFNAME, "--policy", t.path("policy-a.json")],
             [r"eth0", r"(?i)already", r"detach|policy apply"]),
        Case("missing interface", lambda t: ["attach", "eth7"], [r"eth7"]),
        Case("loopback", lambda t: ["attach", "lo"], [r"\blo\b", r"(?i)loopback|ethernet"]),
        Case("not attached", lambda t: ["policy", "apply", "eth7", t.path("policy-a.json")],
         [r"eth7"]),
        Case("detach of nothing", lambda t: ["detach", "eth7"], [r"eth7"]),
        Case("unknown verb", lambda t: ["atach", net.IFNAME], [r"atach", r"attach"], code=2),
        Case("unknown option", lambda t: ["attach", net.IFNAME, "--polizy", "x"], [r"polizy"],
         code=2),
        Case("missing argument", lambda t: ["policy", "apply", net.IFNAME], [r"(?i)file"], code=2),
        Case("number", lambda t: ["attach", net.IFNAME, "--sa-slots", "many"], [r"many"], code=2),
        Case("busy poll", lambda t: ["attach", net.IFNAME, "--busy-poll", "0"], [r"busy-poll", r"1"],
             code=2),
        Case("busy poll, and none", lambda t: ["attach", net.IFNAME, "--busy-poll", "50",
                                               "--no-busy-poll"], [r"exclude each other"], code=2),
        Case("key on the command line", lambda t: ["sa", "apply", net.IFNAME, "00" * 20],
             [r"(?i)no such file"]),
]


def snapshot(topology):
    """All that a refused command could have changed."""
    state = {}
    for host in topology.hosts:
        links = json.loads(host.ip("-d", "-j", "link").stdout)
        state[host.name, "links"] = [
                {k: v for k, v in link.items() if not k.startswith("stats")} for link in links]
        state[host.name, "pids"] = sorted(host.pids())
        state[host.name, "tc"] = [host.run("tc", "filter", "show", "dev", net.IFNAME, side).stdout
                                  for side in ("ingress", "egress")]
        root = os.path.join(net.PIN_ROOT, host.key)
        state[host.name, "pins"] = sorted(
                os.path.join(where, name) for where, dirs, files in os.walk(root)
                for name in dirs + files)
        state[host.name, "records"] = host.run("sh", "-c", f"cd {net.STATE_ROOT}; find . -type f "
                                               "-exec md5sum {} +").stdout
        state[host.name, "socket"] = os.path.exists(f"{net.RUN_ROOT}/{host.key}.sock")
    return state


def live(topology):
    """What is in force, without what changes by itself."""
    a = topology.a
    sas = a.json("sa", "list", net.IFNAME)["sas"]
    for sa in sas:
        del sa["idle_ms"], sa["age"]
    return (a.ipsecbpf("policy", "show", net.IFNAME).stdout, sas,
            {key: value for key, value in a.status().items() if key != "dropped"})


@pytest.fixture(scope="module")
def attached(product):
    from conftest import attach_pair
    with net.Topology() as topology:
        attach_pair(topology)
        yield topology
    assert topology.residue() == []


def assert_says(text, case):
    for expression in case.says:
        assert re.search(expression, text), f"{expression!r} is not in:\n{text}"


@pytest.mark.parametrize("case", POLICY_CASES + SA_CASES + CLI_CASES, ids=lambda case: case.name)
def test_refused(attached, case):
    arguments = case.arguments(attached)
    before, before_live = snapshot(attached), live(attached)
    done = attached.a.ipsecbpf(*arguments, check=False, input=case.input)
    assert done.returncode == case.code, f"stdout: {done.stdout}\nstderr: {done.stderr}"
    assert_says(done.stderr, case)
    assert snapshot(attached) == before and live(attached) == before_live
    assert_no_key(attached, done.stdout + done.stderr)
    if case.code == 2:
        return
    done = attached.a.ipsecbpf("-j", *arguments, check=False, input=case.input)
    assert done.returncode == case.code
    errors = [m for m in json.loads(done.stdout)["messages"] if m["level"] == "error"]
    assert errors and all(m["object"] and m["cause"] for m in errors)
    assert_says("\n".join(f"{m['object']}: {m['cause']}; {m['next'] or ''}" for m in errors), case)


def assert_no_key(topology, text):
    """No part of a key that is in force is ever shown."""
    with open(topology.path("sa.json")) as file:
        for sa in json.load(file)["sas"]:
            for at in range(0, len(sa["key"]) - 16, 2):
                assert sa["key"][at:at + 16] not in text.lower(), "a key is in the output"


def test_listing_shows_no_keys(attached):
    for command in (["sa", "list"], ["status"], ["stats"], ["policy", "show"]):
        for json_ in ([], ["-j"]):
            done = attached.a.ipsecbpf(*json_, *command, net.IFNAME)
            assert_no_key(attached, done.stdout + done.stderr)


def test_traffic_flows_after_all_refusals(attached):
    for family in (4, 6):
        attached.a.run("ping", "-c3", "-i0.01", "-W5", attached.b.address(family))


# ---- attach that fails ---------------------------------------------------------------------------

def refused_attach(topology, *arguments, says, prefix=()):
    """attach fails on a host that has none, and leaves it as it was."""
    host = topology.a
    before = snapshot(topology)
    done = host.run(*prefix, net.IPSECBPF, "attach", *arguments, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    for expression in says:
        assert re.search(expression, done.stderr), f"{expression!r} is not in:\n{done.stderr}"
    assert snapshot(topology) == before
    assert not os.path.isdir(os.path.join(net.PIN_ROOT, host.key))


def test_attach_with_a_bad_policy(product, wire):
    bad = net.protect_all(wire.b)
    bad["rules"][0]["action"] = "protekt"
    path = wire.write("bad.json", bad)
    refused_attach(wire, net.IFNAME, "--policy", path, says=[r"bad\.json", r"protekt"])


def test_attach_with_a_bad_sa_file(product, wire):
    policy = wire.write("policy.json", net.protect_all(wire.b))
    sas = wire.write("sa.json", net.both_ways(wire.a, wire.b), mode=0o644)
    refused_attach(wire, net.IFNAME, "--policy", policy, "--sa", sas, "--fresh",
                   says=[r"sa\.json", r"chmod|0?600"])


def test_attach_with_a_key_without_record(product, wire):
    policy = wire.write("policy.json", net.protect_all(wire.b))
    sas = wire.write("sa.json", net.both_ways(wire.a, wire.b), mode=0o600)
    refused_attach(wire, net.IFNAME, "--policy", policy, "--sa", sas, says=[r"record", r"--fresh"])


def test_attach_with_a_small_mtu(product, wire):
    wire.a.ip("link", "set", net.IFNAME, "mtu", 100)
    refused_attach(wire, net.IFNAME, says=[r"eth0", r"(?i)mtu", r"\b100\b"])


def test_attach_with_a_missing_policy_file(product, wire):
    refused_attach(wire, net.IFNAME, "--policy", "/nowhere.json", says=[r"/nowhere\.json"])


def test_attach_without_bpffs(product, wire):
    script = ["unshare", "--mount", "sh", "-c", "umount /sys/fs/bpf && exec \"$@\"", "sh"]
    refused_attach(wire, net.IFNAME, prefix=script,
                   says=[r"/sys/fs/bpf", r"mount -t bpf"])


def test_attach_without_privilege(product, wire):
    script = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
    done = wire.a.run(*script, net.IPSECBPF, "attach", net.IFNAME, check=False)
    assert done.returncode == 1
    assert re.search(r"(?i)root|CAP_|permission|permitted", done.stderr)


def test_attach_where_xdp_is_taken(product, wire):
    """A foreign XDP program is left where it is, and named."""
    object_file = wire.path("foreign.o")
    source = wire.write("foreign.c", FOREIGN_XDP)
    net.run_command(["clang", "-O2", "-g", "-target", "bpf", "-c", source, "-o", object_file])
    wire.a.ip("link", "set", "dev", net.IFNAME, "xdp", "obj", object_file, "sec", "xdp")
    link = json.loads(wire.a.ip("-d", "-j", "link", "show", "dev", net.IFNAME).stdout)[0]
    foreign = link["xdp"]["prog"]["id"]
    refused_attach(wire, net.IFNAME, says=[r"eth0", r"(?i)xdp"])
    link = json.loads(wire.a.ip("-d", "-j", "link", "show", "dev", net.IFNAME).stdout)[0]
    assert link["xdp"]["prog"]["id"] == foreign


FOREIGN_XDP = """
__attribute__((section("xdp"), used)) int foreign(void *context)
{
	return 2;
}
char foreign_license[] __attribute__((section("license"), used)) = "GPL";
"""


def test_repeated_attach_and_detach_leak_nothing(product, wire):
    policy = wire.write("policy.json", net.protect_all(wire.b))
    sas = wire.write("sa.json", net.both_ways(wire.a, wire.b), mode=0o600)
    before = {key: value for key, value in snapshot(wire).items() if key[1] != "records"}
    for number in range(5):
        fresh = ["--fresh"] if not number else []
        wire.a.ipsecbpf("attach", net.IFNAME, "--policy", policy, "--sa", sas, *fresh)
        wire.a.ipsecbpf("detach", net.IFNAME, "--open")
    after = snapshot(wire)
    assert {key: after[key] for key in before} == before


def test_detach_while_traffic_flows(pair):
    """Clean ends of both kinds, and no clear packet with the guard."""
    server = pair.b.spawn("iperf3", "-s")
    net.wait_until(lambda: ":5201" in pair.b.run("ss", "-ltn").stdout, "iperf3 listens")
    counter = pair.wirecount()
    client = pair.a.spawn("iperf3", "-c", pair.b.address(4), "-t", "60")
    net.wait_until(lambda: pair.a.json("sa", "list", net.IFNAME) and
                   sum(pair.port_packets().values()) > 1000, "traffic")
    pair.a.ipsecbpf("detach", net.IFNAME)
    assert pair.a.status()["state"] == "guard"
    assert pair.a.worker_pid() == 0
    before = pair.a.drops("guard")
    pair.a.wait_drop("guard", before, 1)    # the connection is still trying
    client.kill()
    server.kill()
    result = counter.stop()
    assert result["clear"] == 0, result["clear_samples"]
