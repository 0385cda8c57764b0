# SPDX-License-Identifier: BSD-2-Clause
"""Ways of being attached: generic XDP, beside other programs, watched, and on a wire that is narrow."""
import hashlib
import json
import os
import socket
import subprocess
import threading

import pytest

import topology as net
from conftest import attach_pair
from test_fail_closed import clear_frames, datagram, ping

SIZE = 4 << 20
TCP_PORT = 7100
DISCARD_PORT = 9

FOREIGN_TC = f"""
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#define SEC(name) __attribute__((section(name), used))
/* Drops IPv4 UDP to port {DISCARD_PORT} (headers without options), leaves the rest alone. */
SEC("classifier") int foreign(struct __sk_buff *skb)
{{
	unsigned char *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;

	if (data + 38 > end || data[12] != 8 || data[13] != 0 || data[23] != 17)
		return TC_ACT_UNSPEC;
	return data[36] == 0 && data[37] == {DISCARD_PORT} ? TC_ACT_SHOT : TC_ACT_UNSPEC;
}}
char gpl[] SEC("license") = "GPL";
"""


def transfer(sender, receiver, family):
    """Sends SIZE random octets by TCP; True if they arrive unchanged."""
    kind = socket.AF_INET6 if family == 6 else socket.AF_INET
    data = os.urandom(SIZE)
    digest = hashlib.sha256()
    with receiver.socket(kind, socket.SOCK_STREAM) as listener:
        listener.bind((receiver.address(family), TCP_PORT))
        listener.listen()
        listener.settimeout(20)

        def receive():
            with listener.accept()[0] as connection:
                connection.settimeout(20)
                while block := connection.recv(1 << 16):
                    digest.update(block)

        thread = threading.Thread(target=receive)
        thread.start()
        with sender.socket(kind, socket.SOCK_STREAM) as connection:
            connection.settimeout(20)
            connection.connect((receiver.address(family), TCP_PORT))
            connection.sendall(data)
        thread.join(30)
    return digest.digest() == hashlib.sha256(data).digest()


@pytest.mark.parametrize("family", (4, 6))
def test_generic_xdp(product, wire, family):
    """Generic XDP sees re-entered packets a second time: they must pass, and only they."""
    a, b = wire.a, wire.b
    attach_pair(wire)
    a.ipsecbpf("detach", net.IFNAME, "--open")
    a.ipsecbpf("attach", net.IFNAME, "--xdp", "generic", "--policy", wire.path("policy-a.json"),
               "--sa", wire.path("sa.json"))
    assert a.status()["xdp_mode"] == "generic"
    capture = wire.capture()
    assert ping(a, b.address(family), 3) and ping(b, a.address(family), 3)
    assert transfer(a, b, family) and transfer(b, a, family)
    assert clear_frames(capture) == []
    assert a.passed("in_verified") > 0
    b.ipsecbpf("detach", net.IFNAME, "--open")
    before = a.drops("clear_text")
    datagram(b, a.address(family))
    a.wait_drop("clear_text", before)


@pytest.fixture
def foreign_tc(wire):
    """Another tc program on host a's egress, as tc(8) attaches it."""
    source = wire.write("foreign.c", FOREIGN_TC)
    program = wire.path("foreign.o")
    subprocess.run(["clang", "-O2", "-g", "-target", "bpf", "-I/usr/include/x86_64-linux-gnu", "-c",
                    source, "-o", program], check=True)
    wire.a.run("tc", "qdisc", "add", "dev", net.IFNAME, "clsact")
    wire.a.run("tc", "filter", "add", "dev", net.IFNAME, "egress", "bpf", "da", "obj", program,
               "sec", "classifier")
    return wire


def received(capture, port):
    wanted = port.to_bytes(2, "big")
    return [f for f in capture.taken("a") if net.kind(f) == "clear" and f[36:38] == wanted]


def test_another_tc_program_keeps_working(product, foreign_tc):
    """It decides about what our policy bypasses, before, while and after we are attached."""
    a, b = foreign_tc.a, foreign_tc.b
    bypass = {"version": 1, "bypass_essential": ["arp", "nd"], "rules": [],
              "defaults": {"in": "bypass", "out": "bypass", "non_ip": "bypass"}}
    policy = foreign_tc.write("bypass.json", json.dumps(bypass))

    def check(state):
        capture = foreign_tc.capture()
        datagram(a, b.address(4), port=DISCARD_PORT)
        datagram(a, b.address(4), port=DISCARD_PORT + 1)
        capture.wait(lambda f: f[36:38] == (DISCARD_PORT + 1).to_bytes(2, "big"),
                     f"the datagram that nobody drops, {state}", "a")
        assert not received(capture, DISCARD_PORT), f"the other program was passed by, {state}"

    check("before")
    a.ipsecbpf("attach", net.IFNAME, "--policy", policy)
    check("attached")
    a.ipsecbpf("detach", net.IFNAME, "--open")
    check("after")
    assert "foreign" in a.run("tc", "filter", "show", "dev", net.IFNAME, "egress").stdout


def test_udp_sender_learns_the_size_that_fits(pair):
    """A datagram that does not fit after protection: the sender is told, and the next one fits."""
    a, b = pair.a, pair.b
    for family, overhead in ((4, 28), (6, 48)):
        kind = socket.AF_INET6 if family == 6 else socket.AF_INET
        level, option = (41, 23) if family == 6 else (0, 10)	# IP(V6)_MTU_DISCOVER
        with a.socket(kind, socket.SOCK_DGRAM) as sender, \
                b.socket(kind, socket.SOCK_DGRAM) as receiver:
            receiver.bind((b.address(family), 7000))
            receiver.settimeout(5)
            sender.setsockopt(level, option, 2)		# DO: never fragment
            sender.connect((b.address(family), 7000))
            before = a.drops("too_big")
            sender.send(bytes(1500 - overhead))
            a.wait_drop("too_big", before)

            def told():
                try:
                    sender.send(bytes(1500 - overhead))
                except OSError as error:
                    return error.errno == 90		# EMSGSIZE
                return False

            net.wait_until(told, "EMSGSIZE")
            mtu = sender.getsockopt(level, 24 if family == 6 else 14)	# IP(V6)_MTU
            assert mtu == min(sa["inner_mtu"] for sa in a.json("sa", "list", net.IFNAME)["sas"]
                              if sa["dir"] == "out")
            sender.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)	# what the ICMP error left
            sender.send(bytes(mtu - overhead))
            assert len(receiver.recv(2000)) == mtu - overhead


def test_monitor_tells_of_a_drop(pair):
    a, b = pair.a, pair.b
    monitor = a.spawn(net.IPSECBPF, "-j", "monitor", net.IFNAME)
    b.ipsecbpf("detach", net.IFNAME, "--open")
    stop = threading.Event()

    def send():
        while not stop.wait(0.05):
            datagram(b, a.address(4), port=4711)

    sender = threading.Thread(target=send)
    sender.start()
    limit = threading.Timer(10, monitor.kill)	# else a monitor that tells nothing is waited for
    limit.start()
    try:
        events = (json.loads(line) for line in monitor.stdout)
        event = next((e for e in events
                      if e["event"] == "drop" and e["reason"] == "clear_text"), None)
    finally:
        limit.cancel()
        stop.set()
        sender.join()
    assert event, "nothing was told within 10 s"
    assert event["src"] == b.address(4) and event["dst"] == a.address(4)
    assert event["dst_port"] == 4711 and event["proto"] == "udp"
    monitor.terminate()
    assert monitor.wait(5) == 0
