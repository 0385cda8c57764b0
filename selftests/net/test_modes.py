# SPDX-License-Identifier: BSD-2-Clause
"""Every mode carries what hosts send: large packets, fragments, and paths that turn out narrow."""
import json
import socket
import threading

import pytest

import topology as net
from modes import MODES
from routed import RoutedTopology

BULK = 2_000_000
DATAGRAMS = 250


@pytest.fixture(scope="module")
def routed(product):
    with RoutedTopology() as topology:
        topology.applied = None
        yield topology
    assert topology.residue() == []


@pytest.fixture
def mode(routed, request):
    """Both hosts in the mode that the test is for."""
    routed.narrow(1500)
    request.param.apply(routed, first=routed.applied is None)
    routed.applied = request.param
    for host in (routed.a, routed.b):
        host.ip("route", "flush", "cache")
    return request.param


every_mode = pytest.mark.parametrize("mode", MODES, ids=repr, indirect=True)


def dropped(topology):
    """What both hosts have dropped, by reason."""
    return {host.name: {reason: count for reason, count in host.drops().items() if count}
            for host in topology.hosts}


def ping(host, address, size, *options):
    return host.run("ping", "-c", 1, "-W", 0.5, "-s", size, *options, address, check=False)


def full_sockets(host):
    """Datagrams that the kernel had delivered, but for which a socket had no room."""
    with net.InNetns(net.netns_path(host.netns)), open("/proc/thread-self/net/snmp") as four, \
         open("/proc/thread-self/net/snmp6") as six:
        names, values = (line.split() for line in four if line.startswith("Udp:"))
        counters = dict(zip(names, values)) | dict(line.split() for line in six)
        return int(counters["RcvbufErrors"]) + int(counters["Udp6RcvbufErrors"])


def datagrams(topology, family, octets=4000):
    """UDP datagrams that need fragments: lost ones of how many. Not those that came, and found the
    receiver too busy to fetch them."""
    a, b = topology.a, topology.b
    before = full_sockets(b)
    server = b.spawn("iperf3", "-s", "-1", "-p", 5300, "--forceflush")
    for line in server.stdout:
        if "listening" in line:
            break
    done = a.run("iperf3", "-u", "-l", octets, "-b", "16M", "-n", DATAGRAMS * octets, "-p", 5300,
                 "-J", "-c", b.address(family))
    server.wait(10)
    total = json.loads(done.stdout)["end"]["sum"]
    return total["lost_packets"] - (full_sockets(b) - before), total["packets"]


def transfer(topology, family, octets=BULK):
    """Octets that a TCP connection from a to b delivers."""
    a, b = topology.a, topology.b
    kind = socket.AF_INET6 if family == 6 else socket.AF_INET
    taken = []
    with b.socket(kind, socket.SOCK_STREAM) as listener:
        listener.bind((b.address(family), 5301))
        listener.listen()
        listener.settimeout(20)

        def take():
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(20)
                while data := connection.recv(1 << 20):
                    taken.append(len(data))
        thread = threading.Thread(target=take)
        thread.start()
        with a.socket(kind, socket.SOCK_STREAM) as sender:
            sender.settimeout(20)
            sender.connect((b.address(family), 5301))
            sender.sendall(bytes(octets))
        thread.join(30)
    return sum(taken)


def clear(capture, mode):
    """Frames on the wire between the hosts that are not what the mode sends."""
    ours = {("ip", mode.wire_protocol), ("ip6", mode.wire_protocol)}
    seen = []
    for frame in capture.taken():
        proto = protocol(frame)
        if proto and proto not in ours and not is_error(frame):
            seen.append(frame.hex()[:160])
    return seen


def protocol(frame):
    """("ip", 50) and the like; None for ARP and ND."""
    if net.kind(frame) in ("arp", "nd"):
        return None
    if frame[12:14] == b"\x08\x00":
        return "ip", frame[23]
    if frame[12:14] == b"\x86\xdd":
        return "ip6", frame[54] if frame[20] == 44 else frame[20]
    return "other", 0


def is_error(frame):
    """The router's own packet-too-big messages."""
    return (frame[12:14] == b"\x08\x00" and frame[23] == 1 and frame[34] == 3) or \
        (frame[12:14] == b"\x86\xdd" and frame[20] == 58 and frame[54] in (1, 2, 3))


@every_mode
def test_large_packets(routed, mode):
    """A ping of 60,000 octets and datagrams of 4,000: fragments on both sides of the SA."""
    a, b = routed.a, routed.b
    capture = routed.capture()
    for family in (4, 6):
        answer = ping(a, b.address(family), 60000)
        assert answer.returncode == 0, (family, answer.stdout, dropped(routed))
        lost, sent = datagrams(routed, family)
        assert sent == DATAGRAMS and lost == 0, (family, lost, sent, dropped(routed))
    assert clear(capture, mode) == []


@every_mode
def test_narrow_path(routed, mode):
    """1280 octets in the middle: nobody is told by hand, and everything still arrives."""
    a, b = routed.a, routed.b
    routed.narrow(1280)
    capture = routed.capture()
    for family in (4, 6):
        assert transfer(routed, family) == BULK, (family, dropped(routed))
        for _ in range(3):  # what is too big is lost once in each direction: its sender is told
            answer = ping(a, b.address(family), 60000)
            if answer.returncode == 0:
                break
        assert answer.returncode == 0, (family, answer.stdout, dropped(routed))
        wanted = ping(a, b.address(family), 1372, "-M", "do")
        assert wanted.returncode, "1400 octets cannot pass unfragmented"
        lost, sent = datagrams(routed, family)
        assert lost == 0 and sent, (family, lost, sent, dropped(routed))
    assert clear(capture, mode) == []
    learnt = [sa["path_mtu"] for sa in a.json("sa", "list", net.IFNAME)["sas"]
              if sa["dir"] == "out" and sa["path_mtu"]]
    assert learnt and set(learnt) == {1280}, learnt
