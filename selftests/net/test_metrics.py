# SPDX-License-Identifier: BSD-2-Clause
"""`ipsecbpf metrics`, read by Prometheus' own parser: what it says is what the other commands say."""
import contextlib
import os
import re
import signal
import socket
import time

import pytest

import topology as net
from conftest import attach_pair
from metrics_reader import PORT, Listener, scrape

SYS_ADMIN = 1 << 21
UNITS = ("_seconds", "_bytes", "_ratio", "_info", "_total")
SA = ("peer", "protection", "direction", "protocol", "destination", "spi")


@pytest.fixture(scope="module")
def standing(product):
    """As `pair`, for tests that only look: they all see the same hosts."""
    with net.Topology() as topology:
        attach_pair(topology)
        yield topology
    assert topology.residue() == []


def ping(host, other, count=5):
    host.run("ping", "-c", count, "-i0.01", "-W5", other.address(4))


# ---- what it says -------------------------------------------------------------------------------

def test_agrees_with_the_other_commands(pair):
    a, b = pair.a, pair.b
    ping(a, b)
    a.run("ping", "-c2", "-W1", "10.9.0.77", check=False)
    before, told, after = a.json("stats", net.IFNAME), scrape(a), a.json("stats", net.IFNAME)
    status = a.status()
    assert told.one("build_info")
    assert told.one("up", interface="eth0") == 1
    for reason, low in before["dropped"].items():
        assert low <= sum(value for _, value in told.all("drops_total", reason=reason)) \
            <= after["dropped"][reason]
    assert told.one("drops_total", reason="malformed", where="bpf") == 0
    assert {labels["where"] for labels, _ in told.all("drops_total", reason="icv")} == {"worker"}
    for metric, counters in (("passes_total", "passed"), ("worker_events_total", "worker")):
        assert len(told.all(metric)) == len(before[counters])
        for name, low in before[counters].items():
            assert low <= told.one(metric, counter=name) <= after[counters][name]
    assert told.one("passes_total", counter="out_protect") >= 5
    assert told.one("worker_events_total", counter="wire_tx") >= 5
    assert told.one("policy_serial") == status["policy_serial"]
    assert told.one("policy_rules") == status["rules"] == 1
    assert told.one("sas", direction="in") == status["sas_in"] == 2
    assert told.one("mtu_bytes") == 1500 and told.one("queues") == status["queues"]
    assert told.one("inner_mtu_bytes") == status["inner_mtu"]
    assert told.one("worker_up") == told.one("supervisor_up") == 1
    assert told.one("worker_restarts_total") == 0
    assert {labels["state"]: value for labels, value in told.all("attachment_state")} == \
        {"running": 1, "blocked": 0, "guard": 0, "supervisor-dead": 0, "gone": 0}
    assert told.one("policy_on_trial") == 0
    assert told.all("policy_trial_remaining_seconds") == []


def test_sas(pair):
    a, b = pair.a, pair.b
    ping(a, b, 7)
    sas, told = a.json("sa", "list", net.IFNAME)["sas"], scrape(a)
    assert len(sas) == len(told.all("sa_packets_total")) == 4
    for sa in sas:
        labels = {"peer": "peer", "protection": "wire", "direction": sa["dir"],
                  "protocol": "esp", "destination": sa["dst"], "spi": f"0x{sa['spi']:08x}"}
        for metric, key in (("packets_total", "packets"), ("bytes_total", "bytes"),
                            ("icv_failed_total", "icv_failed"), ("replayed_total", "replayed"),
                            ("lost_total", "lost"), ("inner_mtu_bytes", "inner_mtu")):
            assert told.one("sa_" + metric, **labels) == sa[key]
        assert 0 <= told.one("sa_age_seconds", **labels) - sa["age"] <= 2
        assert told.one("sa_sequence_used_ratio", **labels) == pytest.approx(sa["seq"] / 2**64)
        states = {found["state"]: value for found, value in told.all("sa_state", **labels)}
        assert states == {"valid": 1, "dying": 0, "pending": 0, "draining": 0}
        assert len(told.all("sa_active", **labels)) == (sa["dir"] == "out")
        idle = told.all("sa_idle_seconds", **labels)
        assert len(idle) == (sa["packets"] > 0)
        if idle:
            assert 0 <= idle[0][1] - sa["idle_ms"] / 1000 < 5
    assert sum(value for _, value in told.all("sa_packets_total")) >= 14
    assert told.all("sa_hard_limit_used_ratio") == []
    assert "fingerprint" not in {name for _, labels in told.samples for name, _ in labels}
    assert not any(sa["fingerprint"] in a.ipsecbpf("metrics").stdout for sa in sas)


def test_same_spi_to_two_destinations(product, wire):
    """Prometheus refuses a scrape that names two things alike."""
    document = net.both_ways(wire.a, wire.b)
    for sa in document["sas"]:
        sa["spi"] = "0x1234"
    sas = wire.write("sa.json", document, mode=0o600)
    wire.a.ipsecbpf("attach", net.IFNAME, "--policy",
                    wire.write("policy.json", net.protect_all(wire.b)), "--sa", sas, "--fresh")
    assert len(scrape(wire.a).all("sa_packets_total", spi="0x00001234")) == 4


def test_sas_are_described_up_to_a_number(standing):
    told = scrape(standing.a, "--sas", 1)
    assert len(told.all("sa_packets_total")) == len(told.all("sa_age_seconds")) == 1
    assert told.one("sas_left_out") == 3
    assert told.one("sas", direction="in") == 2
    assert scrape(standing.a).one("sas_left_out") == 0


def test_limits_as_ratios(product, wire):
    document = net.both_ways(wire.a, wire.b, esn=False)
    for sa in document["sas"]:
        sa["limits"] = {"soft": {"packets": 50}, "hard": {"packets": 100, "bytes": 84000}}
    sas = wire.write("sa.json", document, mode=0o600)
    for host, other in ((wire.a, wire.b), (wire.b, wire.a)):
        host.ipsecbpf("attach", net.IFNAME, "--policy",
                      wire.write(f"policy-{host.name}.json", net.protect_all(other)),
                      "--sa", sas, "--fresh")
    ping(wire.a, wire.b, 10)
    labels = {"direction": "out", "destination": wire.b.address(4)}
    net.wait_until(lambda: scrape(wire.a).one("sa_packets_total", **labels) == 10, "10 packets")
    told = scrape(wire.a)
    assert told.one("sa_soft_limit_used_ratio", limit="packets", **labels) == 0.2
    assert told.one("sa_hard_limit_used_ratio", limit="packets", **labels) == 0.1
    assert told.one("sa_hard_limit_used_ratio", limit="bytes", **labels) == pytest.approx(0.01)
    assert told.all("sa_hard_limit_used_ratio", limit="seconds") == []
    assert told.one("sa_sequence_used_ratio", **labels) == pytest.approx(10 / 2**32)


ODD = "a ._:@/+-b"


def test_missing_sas_are_those_of_this_interface(product, lone):
    rules = [{"name": "r", "action": "protect", "peer": ODD, "protection": "wire"},
             {"name": "one way", "action": "protect", "peer": "other", "protection": "wire",
              "direction": "out"},
             {"name": "elsewhere", "action": "protect", "peer": "third", "protection": "wire",
              "interface": "eth7"}]
    document = net.policy(rules, {ODD: ["10.9.0.2"], "other": ["10.9.0.3"], "third": ["10.9.0.4"]},
                          {"wire": net.protection_of()})
    lone.a.ipsecbpf("attach", net.IFNAME, "--policy", lone.write("policy.json", document))
    missing = {(labels["peer"], labels["direction"]): value
               for labels, value in scrape(lone.a).all("sa_missing")}
    assert missing == {(ODD, "in"): 1, (ODD, "out"): 1, ("other", "out"): 1}


def test_missing_sas(pair):
    a = pair.a

    def missing():
        return {labels["direction"]: value for labels, value in scrape(a).all("sa_missing")}
    assert missing() == {"in": 0, "out": 0}
    for sa in a.json("sa", "list", net.IFNAME)["sas"]:
        if sa["dir"] == "out":
            a.ipsecbpf("sa", "delete", net.IFNAME, "--dst", sa["dst"], "--spi", sa["spi"])
    assert missing() == {"in": 0, "out": 1}
    a.ipsecbpf("sa", "apply", net.IFNAME, pair.path("sa.json"))
    assert missing() == {"in": 0, "out": 0}
    # With another meaning of the protection, the SAs there are serve nothing.
    a.ipsecbpf("policy", "apply", net.IFNAME,
               pair.write("other.json", net.protect_all(pair.b, "aes256gcm16")))
    assert missing() == {"in": 1, "out": 1} and scrape(a).one("sas", direction="in") == 2


def test_missing_sas_of_a_bundle(product, lone):
    document = net.policy(
        [{"name": "r", "action": "protect", "peer": "b", "protection": "secret"}],
        {"b": ["10.9.0.2"]}, {"secret": {"within": "signed"}, "signed": {"protocol": "ah"}})
    lone.a.ipsecbpf("attach", net.IFNAME, "--policy", lone.write("policy.json", document))
    assert {(labels["protection"], labels["direction"]): value
            for labels, value in scrape(lone.a).all("sa_missing")} == \
        {(name, way): 1 for name in ("secret", "signed") for way in ("in", "out")}


def test_map_pressure(standing):
    told = scrape(standing.a)
    assert told.one("map_max_entries", map="sad") == 1025
    assert told.one("map_entries", map="sad") == told.one("map_entries", map="sa_slots") == 4
    assert told.one("map_entries", map="out_sa") == 2
    assert told.one("map_entries", map="protections") == 1
    assert told.one("map_entries", map="own_addresses") >= 2
    for labels, entries in told.all("map_entries"):
        assert entries <= told.one("map_max_entries", **labels)
    assert told.all("map_entries", map="drops") == [], "what cannot fill is not counted"


def test_trial(pair):
    pair.a.ipsecbpf("policy", "apply", net.IFNAME, "--confirm", 600,
                    pair.write("other.json", net.protect_all(pair.b, "aes256gcm16")))
    told = scrape(pair.a)
    assert told.one("policy_on_trial") == 1 and told.one("policy_serial") == 2
    assert 500 < told.one("policy_trial_remaining_seconds") <= 600


def test_states(pair):
    a = pair.a

    def state():
        told = scrape(a)
        (word,) = [labels["state"] for labels, value in told.all("attachment_state") if value]
        return word, told
    os.kill(a.status()["supervisor_pid"], signal.SIGKILL)
    net.wait_until(lambda: state()[0] == "supervisor-dead", "the state is told")
    told = state()[1]
    assert told.one("supervisor_up") == told.one("worker_up") == 0
    a.ipsecbpf("detach", net.IFNAME)
    assert state()[0] == "guard"


def test_json(standing):
    ping(standing.a, standing.b)
    told, document = scrape(standing.a), standing.a.json("metrics")
    names = {metric["name"] for metric in document["metrics"]}
    assert names == {name for name, _ in told.samples} | \
        {"ipsecbpf_attachment_trial_remaining_seconds", "ipsecbpf_policy_trial_remaining_seconds",
         "ipsecbpf_sa_soft_limit_used_ratio", "ipsecbpf_sa_hard_limit_used_ratio",
         *("ipsecbpf_" + metric for metric in OF_RULES + OF_APPS)}
    for metric in document["metrics"]:
        assert metric["help"] and metric["type"] in ("counter", "gauge")
        for sample in metric["samples"]:
            assert (metric["name"], frozenset(sample["labels"].items())) in told.samples


def test_not_attached(product, lone):
    a = lone.a
    assert scrape(a).all("up") == []
    done = a.ipsecbpf("metrics", net.IFNAME, check=False)
    assert done.returncode == 1 and done.stdout == "" and "not attached" in done.stderr
    a.ipsecbpf("attach", net.IFNAME, "--policy", lone.write("policy.json", net.policy([])))
    done = a.run("setpriv", "--reuid", "12345", "--clear-groups", "--inh-caps=-all",
                 net.IPSECBPF, "metrics", check=False)
    assert done.returncode == 1 and done.stdout == "" and "run it as root" in done.stderr


# ---- the listener -------------------------------------------------------------------------------

@pytest.fixture
def listener():
    return Listener


def test_listener(pair, listener):
    served = listener(pair.a, "--listen", PORT)
    ping(pair.a, pair.b, 3)
    net.wait_until(lambda: served.scrape().one("passes_total", counter="out_protect") >= 3,
                   "what has happened is told")
    assert {key for key, _ in served.scrape().samples} == {key for key, _ in scrape(pair.a).samples}
    for path in ("/", "/metrics/", "/metric", "//metrics", "/../metrics"):
        assert served.request(path=path).status == 404
    assert served.request(path="/metrics?name[]=x").status == 200
    for method, body in (("POST", "x" * 100000), ("PUT", ""), ("DELETE", None), ("OPTIONS", None),
                         ("BREW", None)):
        answer = served.request(method, body=body)
        assert answer.status == 405 and answer.headers["Allow"] == "GET, HEAD", method
    head = served.request("HEAD")
    assert head.status == 200 and int(head.headers["Content-Length"]) > 0 and head.text == ""
    assert served.request("POST", "/other", "x").status == 404
    # One connection, two scrapes.
    connection = served.connect()
    for _ in range(2):
        connection.request("GET", "/metrics")
        assert "ipsecbpf_up" in connection.getresponse().read().decode()
    connection.close()
    served.stop()
    assert scrape(pair.a).one("up") == 1


def test_listener_follows_the_policy(pair, listener):
    served = listener(pair.a, "--listen", PORT)
    assert served.scrape().one("sa_missing", direction="out") == 0
    pair.a.ipsecbpf("policy", "apply", net.IFNAME,
                    pair.write("next.json", net.protect_all(pair.b, "aes256gcm16")))
    net.wait_until(lambda: served.scrape().one("sa_missing", direction="out") == 1,
                   "SAs of another definition do not count")
    pair.a.ipsecbpf("policy", "apply", net.IFNAME, pair.write("none.json", net.policy([])))
    net.wait_until(lambda: served.scrape().all("sa_missing") == [], "nothing is protected now")
    served.stop()


@pytest.mark.parametrize("number", (signal.SIGTERM, signal.SIGINT))
def test_listener_ends(standing, listener, number):
    served = listener(standing.a, "--listen", PORT)
    idle = served.connect()
    pids = [served.process.pid, *children(served.process.pid)]
    served.stop(number)
    idle.close()
    assert len(pids) == 2 and not [pid for pid in pids if os.path.exists(f"/proc/{pid}")]


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]


def privileges(pid):
    with open(f"/proc/{pid}/status") as file:
        fields = dict(line.rstrip("\n").split(":\t", 1) for line in file)
    return {key: fields[key] for key in ("Uid", "CapEff", "CapPrm", "CapBnd", "Seccomp", "NoNewPrivs")}


def opened(pid):
    """What the process has open; without what it closes while this looks."""
    for fd in os.listdir(f"/proc/{pid}/fd"):
        with contextlib.suppress(FileNotFoundError):
            yield os.readlink(f"/proc/{pid}/fd/{fd}")


def test_listener_holds_little(standing, listener):
    served = listener(standing.a, "--listen", PORT)
    served.scrape()
    reader = privileges(served.process.pid)
    assert {int(reader[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == {SYS_ADMIN}
    assert (reader["Seccomp"], reader["NoNewPrivs"]) == ("2", "1")
    (pid,) = children(served.process.pid)
    answers = privileges(pid)
    assert int(answers["CapEff"], 16) == int(answers["CapPrm"], 16) == 0
    assert set(answers["Uid"].split()) == {"2147483001"}
    assert (answers["Seccomp"], answers["NoNewPrivs"]) == ("2", "1")
    assert not [name for name in opened(pid) if "bpf" in name]
    served.stop()


def test_listener_ends_if_its_half_does(standing, listener):
    served = listener(standing.a, "--listen", PORT)
    (pid,) = children(served.process.pid)
    os.kill(pid, signal.SIGKILL)
    assert served.process.wait(5) == 1
    assert "was ended by signal 9" in served.process.stdout.read()
    served = listener(standing.a, "--listen", PORT)
    (pid,) = children(served.process.pid)
    served.process.kill()
    served.process.wait()
    net.wait_until(lambda: not os.path.exists(f"/proc/{pid}"), "the other half ends too")


def test_listener_outlives_attachments(pair, listener):
    """What is not attached is not told of; what comes back is told of as it is now."""
    a, b = pair.a, pair.b
    every, named = listener(a, "--listen", PORT), listener(a, net.IFNAME, "--listen", PORT + 1)
    ping(a, b)
    before = every.scrape().one("policy_serial")
    policy = pair.write("two.json", net.policy(
        [{"name": name, "action": "bypass", "remote": name} for name in ("10.9.0.8", "10.9.0.9")]))
    a.ipsecbpf("detach", net.IFNAME, "--open")
    net.wait_until(lambda: every.scrape().all("up") == [], "nothing is attached")
    net.wait_until(lambda: named.scrape(port=PORT + 1).one("up") == 0, "it is told that it is not there")
    assert not named.scrape(port=PORT + 1).all("drops_total")
    a.ipsecbpf("attach", net.IFNAME, "--policy", policy)
    for served, where in ((every, {}), (named, {"port": PORT + 1})):
        net.wait_until(lambda: [up for _, up in served.scrape(**where).all("up")] == [1], "it is back")
        told = served.scrape(**where)
        assert told.one("policy_rules") == 2 and told.one("policy_serial") == before == 1
        assert told.all("sa_missing") == [], "of the policy before"
        assert told.one("passes_total", counter="out_protect") == 0
        assert told.one("attachment_state", state="running") == 1
    os.kill(a.status()["supervisor_pid"], signal.SIGKILL)
    net.wait_until(lambda: every.scrape().one("attachment_state", state="supervisor-dead"),
                   "the dead supervisor")
    every.stop()
    named.stop()


def test_listener_address(standing, listener):
    a = standing.a
    for where in ("0.0.0.0:9119", a.address(4) + ":9119", "[::]:9119", f"[{a.address(6)}]:9119"):
        done = a.ipsecbpf("metrics", "--listen", where, check=False)
        assert done.returncode == 1 and "--remote" in done.stderr, where
    for where in ("x", "0", "65536", "localhost:9119", ":9119", "::1:9119", "[::1]", "[::1:9119",
                  "127.0.0.1:", "1.2.3.4.5:9", "127.0.0.1:http", "[127.0.0.1", "-1"):
        done = a.ipsecbpf("metrics", f"--listen={where}", check=False)
        assert done.returncode == 1 and "not a port" in done.stderr, where
    served = listener(a, "--listen", f"[::1]:{PORT}")
    assert served.scrape(address="::1").one("up") == 1
    with pytest.raises(OSError):
        served.scrape()
    again = a.ipsecbpf("metrics", "--listen", f"[::1]:{PORT}", check=False)
    assert again.returncode == 1 and "in use" in again.stderr and "another port" in again.stderr
    served.stop()
    served = listener(a, "--listen", f"0.0.0.0:{PORT}", "--remote")
    assert served.scrape(address=a.address(4)).one("up") == 1
    served.stop()
    assert a.ipsecbpf("metrics", "--remote", check=False).returncode == 2
    assert a.ipsecbpf("-j", "metrics", "--listen", PORT, check=False).returncode == 2


def activated(host, address, count=1):
    """As systemd starts it: the socket is descriptor 3."""
    listening = host.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((address, PORT))
    script = (f"exec 3<&{listening.fileno()} {listening.fileno()}<&-; LISTEN_FDS={count} "
              f"LISTEN_PID=$$ exec {net.IPSECBPF} metrics --listen systemd")
    return listening, ("bash", "-c", script), {"pass_fds": (listening.fileno(),)}


def test_socket_of_systemd(standing, listener):
    a = standing.a
    listening, command, options = activated(a, "127.0.0.3")
    served = object.__new__(Listener)
    served.host, served.process = a, a.spawn(*command, **options)
    assert "served at systemd" in served.process.stdout.readline()
    listening.close()
    assert served.scrape(address="127.0.0.3").one("up") == 1
    served.stop()
    for address, count, said in (("10.9.0.1", 1, "--remote"), ("127.0.0.1", 2, "exactly one")):
        listening, command, options = activated(a, address, count)
        process = a.spawn(*command, **options)
        listening.close()
        assert process.wait(10) == 1 and said in process.stdout.read()
    done = a.ipsecbpf("metrics", "--listen", "systemd", check=False)
    assert done.returncode == 1 and "exactly one" in done.stderr


def test_connections_are_bounded(standing, listener):
    """Sixteen at a time; the next one waits until one of them goes."""
    served = listener(standing.a, "--listen", PORT)
    held = [served.connect() for _ in range(16)]
    for connection in held:
        connection.request("GET", "/metrics")
        assert "ipsecbpf_up" in connection.getresponse().read().decode()
    late = served.connect()
    late.request("GET", "/metrics")
    late.sock.settimeout(0.3)
    with pytest.raises(OSError):
        late.sock.recv(1)
    held.pop().close()
    late.sock.settimeout(5)     # others are idle for 10 s before they are closed
    assert "ipsecbpf_up" in late.getresponse().read().decode()
    for connection in [late, *held]:
        connection.close()
    served.stop()


def test_listener_is_not_moved_by_rubbish(standing, listener):
    served = listener(standing.a, "--listen", PORT)
    for rubbish in (b"\0" * 100, b"GET /metrics HTTP/9.9\r\n\r\n", b"GET " + b"x" * 100000,
                    b"GET /metrics HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 20000 + b"\r\n",
                    b"GET /metrics HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
                    b"POST /metrics HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"):
        connection = served.connect()
        try:
            connection.sock.sendall(rubbish)
            connection.sock.shutdown(socket.SHUT_WR)
            while connection.sock.recv(65536):
                pass
        except OSError:
            pass
        connection.close()
    assert served.scrape().one("up") == 1
    served.stop()


def test_documented_names(standing):
    """What doc/monitoring.md tells to ask for is there."""
    with open(os.path.join(net.HERE, "..", "..", "doc", "monitoring.md")) as file:
        asked = set(re.findall(r"ipsecbpf_[a-z_]+", file.read()))
    assert len(asked) > 10
    assert asked <= set(re.findall(r"^# TYPE (\S+)", standing.a.ipsecbpf("metrics").stdout, re.M))


# ---- rules --------------------------------------------------------------------------------------

RULES = [{"name": name, "protocol": "udp", "remote_port": port, "action": "bypass"}
         for name, port in (("seldom", 1001), ("never", 1002), ("often", 1003))]
OF_APPS = ("app_connections", "app_max_flows", "app_endpoints", "app_sas", "app_packets_total",
           "app_bytes_total", "socket_hooks", "socket_hooks_attached")
OF_RULES = ("rule_packets_total", "rule_bytes_total", "rule_idle_seconds")


@pytest.fixture
def ruled(product, lone):
    """A host whose rules have decided 0, 2 and 5 packets of 14 + 28 + 100 octets."""
    host = lone.a
    host.ipsecbpf("attach", net.IFNAME, "--policy", lone.write("policy.json", net.policy(RULES)))
    host.neighbour("10.9.0.2", "02:00:00:00:00:99")
    with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        for port, count in ((1001, 2), (1003, 5)):
            for _ in range(count):
                out.sendto(bytes(100), ("10.9.0.2", port))
    net.wait_until(lambda: host.json("stats", net.IFNAME, "--rule", "often")["rules"][0]["packets"] == 5,
                   "they are counted")
    return host


def test_rules_are_told_on_demand(ruled):
    told = scrape(ruled)
    assert not any(told.all(metric) for metric in OF_RULES), "100,000 rules are 300,000 lines"
    assert told.one("policy_rules") == 3 and told.one("policy_entries") >= 3
    assert told.one("policy_memory_bytes") >= 3 * 64
    told = scrape(ruled, "--rules", 2)
    assert {labels["rule"]: value for labels, value in told.all("rule_packets_total")} == \
        {"often": 5, "seldom": 2}
    assert told.one("rule_bytes_total", rule="often") == 5 * 142
    assert 0 <= told.one("rule_idle_seconds", rule="often") < 60
    told = scrape(ruled, "--rules", 1)
    assert [labels["rule"] for labels, _ in told.all("rule_packets_total")] == ["often"]


def test_rules_of_the_listener(ruled, listener, lone):
    served = listener(ruled, "--listen", PORT, "--rules", 10)
    assert served.scrape().one("rule_packets_total", rule="often") == 5
    # The same serial, another policy: what is kept from one scrape to the next is not of it.
    ruled.ipsecbpf("detach", net.IFNAME, "--open")
    rules = [rule | {"name": "new " + rule["name"]} for rule in RULES]
    ruled.ipsecbpf("attach", net.IFNAME, "--policy", lone.write("new.json", net.policy(rules)))
    with ruled.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
        out.sendto(bytes(100), ("10.9.0.2", 1002))
    net.wait_until(lambda: [labels["rule"] for labels, _ in served.scrape().all("rule_packets_total")] ==
                   ["new never"], "the new rules")
    served.stop()


def test_policy_applied(ruled, lone):
    first = scrape(ruled).one("policy_applied_timestamp_seconds")
    assert 0 <= time.time() - first < 60
    ruled.ipsecbpf("policy", "apply", net.IFNAME, "--confirm", 600,
                   lone.write("other.json", net.policy(RULES[:2])))
    assert scrape(ruled).one("policy_applied_timestamp_seconds") > first
    ruled.ipsecbpf("policy", "confirm", net.IFNAME, "--undo")
    assert scrape(ruled).one("policy_applied_timestamp_seconds") == first


def test_stats_of_rules(ruled):
    told = ruled.json("stats", net.IFNAME, "--rules")
    assert told["policy_serial"] == 1
    assert [(rule["name"], rule["packets"], rule["bytes"]) for rule in told["rules"]] == \
        [("seldom", 2, 284), ("never", 0, 0), ("often", 5, 710)]
    assert [rule["idle_ms"] is None for rule in told["rules"]] == [False, True, False]
    assert [rule["line"] for rule in told["defaults"]] == [None, None]
    with open(told["file"]) as file:
        shown = file.read().splitlines()
    for rule in told["rules"]:
        assert f'"{rule["name"]}"' in "".join(shown[rule["line"] - 1:rule["line"] + 1])
    for args, names in ((("--top", 1), ["often"]), (("--top", 9), ["often", "seldom"]),
                        (("--rule", "never"), ["never"])):
        assert [rule["name"] for rule in ruled.json("stats", net.IFNAME, *args)["rules"]] == names
    text = ruled.ipsecbpf("stats", net.IFNAME, "--rules").stdout.splitlines()
    assert text[0].split() == ["rule", "packets", "bytes", "idle", "line"]
    assert text[2].split()[:4] == ["never", "0", "0", "never"] and text[5].startswith("(default out)")
    done = ruled.ipsecbpf("stats", net.IFNAME, "--rule", "no such", check=False)
    assert done.returncode == 1 and "policy show" in done.stderr
    assert ruled.ipsecbpf("stats", net.IFNAME, "--rule", "x", "--top", 1, check=False).returncode == 2


def test_stats_of_rules_without_a_policy(product, lone):
    lone.a.ipsecbpf("attach", net.IFNAME)
    done = lone.a.ipsecbpf("stats", net.IFNAME, "--rules", check=False)
    assert done.returncode == 1 and "no policy is loaded" in done.stderr
    told = scrape(lone.a, "--rules", 5)
    assert told.one("policy_serial") == 0 and told.all("rule_packets_total") == []
    assert told.one("attachment_state", state="blocked") == 1
