# SPDX-License-Identifier: BSD-2-Clause
"""Crashes and restarts under load: no connection lost, no clear packet, no (SPI, IV) twice."""
import json
import os
import signal

import pytest

import topology as net

KILLS = 20
BETWEEN = 300   # packets that must have crossed the wire from one kill to the next


@pytest.fixture
def iperf(pair):
    """iperf3 from a to b: a function that starts the client for some seconds."""
    server = pair.b.spawn("iperf3", "-s")
    net.wait_until(lambda: ":5201" in pair.b.run("ss", "-ltn").stdout, "iperf3 listens")

    def start(seconds):
        return pair.a.spawn("iperf3", "-c", pair.b.address(4), "-t", seconds, "-J")
    yield start
    server.terminate()


def crossed(topology):
    return sum(topology.port_packets().values())


def kill_worker(host):
    """SIGKILL; returns once another worker runs."""
    pid = host.worker_pid()
    assert pid, f"host {host.name} has no worker: {host.status()}"
    os.kill(pid, signal.SIGKILL)
    net.wait_until(lambda: host.worker_pid() not in (0, pid), f"host {host.name}: a new worker", 10)


def assert_clean(result):
    assert result["lost"] == 0, "the capture lost packets: the run proves nothing"
    assert result["clear"] == 0, result["clear_samples"]
    assert result["repeated_iv"] == 0 and result["repeated_seq"] == 0
    assert result["unrecorded"] == 0


def test_killing_the_worker_loses_no_connection(pair, iperf):
    pair.a.run("ping", "-c1", "-W5", pair.b.address(4))
    counter = pair.wirecount()
    client = iperf(20)
    net.wait_until(lambda: crossed(pair) > BETWEEN, "traffic")
    for number in range(KILLS):
        kill_worker((pair.a, pair.b)[number % 2])
        mark = crossed(pair)
        net.wait_until(lambda m=mark: crossed(pair) > m + BETWEEN,
                       f"traffic after kill {number + 1}", 10)
        assert client.poll() is None, f"iperf3 ended at kill {number + 1}: {client.stdout.read()}"
    output, _ = client.communicate(timeout=120)
    result = counter.stop()
    assert client.returncode == 0, output
    report = json.loads(output)
    assert "error" not in report, report["error"]
    assert report["end"]["sum_received"]["bytes"] > 0
    assert report["intervals"][-1]["sum"]["bytes"] > 0, "the connection was dead at the end"
    assert_clean(result)
    restarts = [host.status()["worker_restarts"] for host in (pair.a, pair.b)]
    assert sum(restarts) >= KILLS


def last_seqs(result):
    return {(row["port"], row["spi"]): (row["first_seq"], row["last_seq"])
            for row in result["spis"]}


def traffic(pair):
    for family in (4, 6):
        pair.a.run("ping", "-c20", "-i0.01", "-W5", pair.b.address(family))


def test_sequence_numbers_go_on_after_detach_and_attach(pair):
    whole, first = pair.wirecount(), pair.wirecount()
    traffic(pair)
    before = last_seqs(first.stop())
    for host in (pair.a, pair.b):
        host.ipsecbpf("detach", net.IFNAME)
        host.ipsecbpf("attach", net.IFNAME, "--policy", pair.path(f"policy-{host.name}.json"),
                      "--sa", pair.path("sa.json"))
    second = pair.wirecount()
    traffic(pair)
    after = last_seqs(second.stop())
    assert_clean(whole.stop())
    assert len(before) == 4 and after.keys() == before.keys()
    for sa, (_, last) in before.items():
        assert after[sa][0] > last, f"{sa}: {last} was sent before, {after[sa][0]} after"


def test_sequence_numbers_go_on_after_a_crash_of_everything(pair):
    whole = pair.wirecount()
    traffic(pair)
    for host in (pair.a, pair.b):
        status = host.status()
        for pid in (status["supervisor_pid"], status["worker_pid"]):
            os.kill(pid, signal.SIGKILL)
        net.wait_until(lambda s=status: not os.path.exists(f"/proc/{s['supervisor_pid']}"),
                       "the supervisor is dead")
        host.ipsecbpf("attach", net.IFNAME, "--policy", pair.path(f"policy-{host.name}.json"),
                      "--sa", pair.path("sa.json"))
    traffic(pair)
    result = whole.stop()
    assert_clean(result)
    assert len(result["spis"]) == 4


@pytest.mark.parametrize("suite", net.COUNTER_MODE)
def test_key_without_record_is_refused(product, wire, suite):
    a, b = wire.a, wire.b
    sas = wire.write("sa.json", net.both_ways(a, b, suite=suite), mode=0o600)
    policy = wire.write("policy.json", net.protect_all(b, suite))
    a.ipsecbpf("attach", net.IFNAME, "--policy", policy)
    done = a.ipsecbpf("sa", "apply", net.IFNAME, sas, check=False)
    assert done.returncode == 1
    assert "--fresh" in done.stderr and "record" in done.stderr
    assert a.status()["sas_out"] == 0 and a.status()["sas_in"] == 0, "all or nothing"
    a.ipsecbpf("sa", "apply", net.IFNAME, sas, "--fresh")
    assert a.status()["sas_out"] == 2


def test_cbc_key_needs_no_record(product, wire):
    """Random IVs need no reservation (RFC 3602); only counters do."""
    a, b = wire.a, wire.b
    sas = wire.write("sa.json", net.both_ways(a, b, suite="aes128-sha256"), mode=0o600)
    policy = wire.write("policy.json", net.protect_all(b, "aes128-sha256"))
    a.ipsecbpf("attach", net.IFNAME, "--policy", policy, "--sa", sas)
    assert a.status()["sas_out"] == 2


def test_genkey_starts_the_record(product, wire):
    a, b = wire.a, wire.b
    path = wire.path("generated.json")
    a.ipsecbpf("sa", "genkey", "--src", a.address(4), "--dst", b.address(4),
               "--protection", "wire", "-o", path)
    assert os.stat(path).st_mode & 0o777 == 0o600
    policy = wire.write("policy.json", net.protect_all(b))
    a.ipsecbpf("attach", net.IFNAME, "--policy", policy, "--sa", path)
    assert a.status()["sas_out"] == 1 and a.status()["sas_in"] == 1


def test_same_key_in_a_second_sa_shares_the_record(pair):
    """Another SPI with the same key must not start at 1 again (RFC 4106 2): the IV is the same."""
    a, b = pair.a, pair.b
    whole = pair.wirecount()
    traffic(pair)
    with open(pair.path("sa.json")) as file:
        document = json.load(file)
    for sa in document["sas"]:
        sa["spi"] += 0x100
    renamed = pair.write("renamed.json", document, mode=0o600)
    a.ipsecbpf("sa", "flush", net.IFNAME)
    b.ipsecbpf("sa", "flush", net.IFNAME)
    for host in (a, b):
        host.ipsecbpf("sa", "apply", net.IFNAME, renamed)
    traffic(pair)
    rows = last_seqs(whole.stop())
    old = {key: value for key, value in rows.items() if value and (key[0], key[1] + 0x100) in rows}
    assert len(old) == 4
    for (port, spi), (_, last) in old.items():
        assert rows[port, spi + 0x100][0] > last, "an IV may have been used twice with one key"
