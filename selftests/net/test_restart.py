# SPDX-License-Identifier: BSD-2-Clause
"""Crashes and restarts under load: no connection lost, no clear packet, no (SPI, IV) twice."""
import hashlib
import json
import os
import signal
import socket
import threading
import time

import pytest

import topology as net

KILLS = 20
CRASH_LOOP = 0.25       # seconds, a little over CRASH_LOOP_NS of lib/supervisor.c
BETWEEN = 300   # packets that must have crossed the wire from one kill to the next


class Stream:
    """One TCP connection, full of octets from a to b until stop()."""

    def __init__(self, a, b):
        self.failed = []
        self.full = True
        self.digests = {}
        self.receiver, self.sender = (host.socket(socket.AF_INET, socket.SOCK_STREAM)
                                      for host in (b, a))
        self.receiver.bind((b.address(4), 7000))
        self.receiver.listen()
        self.sender.settimeout(10)
        self.sender.connect((b.address(4), 7000))
        self.accepted, _ = self.receiver.accept()
        self.accepted.settimeout(10)
        self.threads = [threading.Thread(target=self._run, args=(end,))
                        for end in (self._send, self._receive)]
        for thread in self.threads:
            thread.start()

    def _run(self, end):
        try:
            self.digests[end.__name__] = end()
        except OSError as error:
            self.failed.append(error)

    def _send(self):
        digest, block = hashlib.sha256(), os.urandom(1 << 16)
        while self.full:
            self.sender.sendall(block)
            digest.update(block)
        self.sender.shutdown(socket.SHUT_WR)
        return digest.digest()

    def _receive(self):
        digest = hashlib.sha256()
        while data := self.accepted.recv(1 << 16):
            digest.update(data)
        return digest.digest()

    def stop(self):
        """What was received is what was sent, all of it."""
        self.full = False
        for thread in self.threads:
            thread.join()
        for each in (self.sender, self.accepted, self.receiver):
            each.close()
        assert not self.failed, self.failed
        assert self.digests["_send"] == self.digests["_receive"]


def crossed(topology):
    return sum(topology.port_packets().values())


def flows(topology, when):
    mark = crossed(topology)
    net.wait_until(lambda: crossed(topology) > mark + BETWEEN, f"traffic {when}", 20)


def age(pid):
    """Seconds since the process began, a hundredth less at most."""
    with open(f"/proc/{pid}/stat") as file:
        began = int(file.read().rpartition(")")[2].split()[19]) / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began


def kill_worker(host):
    """SIGKILL; returns once another worker runs. One that has lived too short is not killed: the
    supervisor would take its death for a crash loop and wait ever longer."""
    pid = host.worker_pid()
    assert pid, f"host {host.name} has no worker: {host.status()}"
    net.wait_until(lambda: age(pid) > CRASH_LOOP, "the worker has lived long enough")
    os.kill(pid, signal.SIGKILL)
    net.wait_until(lambda: host.worker_pid() not in (0, pid), f"host {host.name}: a new worker", 10)


def assert_clean(result):
    assert result["lost"] == 0, "the capture lost packets: the run proves nothing"
    assert result["clear"] == 0, result["clear_samples"]
    assert result["repeated_iv"] == 0 and result["repeated_seq"] == 0
    assert result["unrecorded"] == 0


def test_killing_the_worker_loses_no_connection(pair):
    pair.a.run("ping", "-c1", "-W5", pair.b.address(4))
    counter = pair.wirecount()
    stream = Stream(pair.a, pair.b)
    try:
        for number in range(KILLS):
            flows(pair, f"before kill {number + 1}")
            kill_worker((pair.a, pair.b)[number % 2])
        flows(pair, "after the last kill")
    finally:
        stream.stop()
    assert_clean(counter.stop())
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
