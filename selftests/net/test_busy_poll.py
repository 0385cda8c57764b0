# SPDX-License-Identifier: BSD-2-Clause
"""The worker stays awake between packets that follow each other closely, and sleeps otherwise."""
import contextlib
import socket

import pytest

import topology as net

PORT = 7200
EXCHANGES = 2000


@contextlib.contextmanager
def attached(options):
    """Two hosts; the options are for host a."""
    with net.Topology(middle=False) as top:
        sas = top.write("sa.json", net.both_ways(top.a, top.b), mode=0o600)
        for host, other, more in ((top.a, top.b, options), (top.b, top.a, ())):
            policy = top.write(f"{host.name}.json", net.protect_all(other))
            host.ipsecbpf("attach", net.IFNAME, "--policy", policy, "--sa", sas, "--fresh", *more)
        yield top


def worker(host):
    return host.json("stats", net.IFNAME)["worker"]


def ping_pong(top):
    """One octet there and back again, many times: each exchange waits for the one before."""
    listener, client = top.b.socket(socket.AF_INET, socket.SOCK_STREAM), \
        top.a.socket(socket.AF_INET, socket.SOCK_STREAM)
    with listener, client:
        listener.bind((top.b.address(4), PORT))
        listener.listen()
        client.settimeout(20)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client.connect((top.b.address(4), PORT))
        server, _ = listener.accept()
        with server:
            server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for _ in range(EXCHANGES):
                client.sendall(b"x")
                assert server.recv(1) == b"x"
                server.sendall(b"y")
                assert client.recv(1) == b"y"


@pytest.mark.alone
def test_awake_while_packets_follow_closely():
    """Unless others need the CPU: then it comes back to it."""
    with attached(()) as top:
        assert top.a.status()["busy_poll_us"] == 200

        def caught():
            ping_pong(top)
            return worker(top.a)["busy_polls"]
        net.wait_until(caught, "work came before it slept", 30)
        assert worker(top.a)["busy_poll_ns"] > 0


def test_asleep_when_nothing_comes():
    """What it looked for in vain is bounded; then it stands still."""
    with attached(("--busy-poll", 1000)) as top:
        assert top.a.status()["busy_poll_us"] == 1000
        ping_pong(top)

        def rests():
            one, other = worker(top.a), worker(top.a)
            return one["polls"] == other["polls"] and one["busy_poll_ns"] == other["busy_poll_ns"]
        net.wait_until(rests, "the worker rests")
        with open(f"/proc/{top.a.worker_pid()}/status", encoding="utf-8") as file:
            assert "State:\tS" in file.read()


def test_never_awake_when_told_so():
    with attached(("--no-busy-poll",)) as top:
        assert top.a.status()["busy_poll_us"] == 0
        assert "busy poll" in top.a.ipsecbpf("status", net.IFNAME).stdout
        ping_pong(top)
        after = worker(top.a)
        assert after["busy_polls"] == after["busy_poll_ns"] == 0
        assert after["polls"] > 0
