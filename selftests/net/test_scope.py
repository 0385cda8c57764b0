# SPDX-License-Identifier: BSD-2-Clause
"""What is not attached is not touched: other interfaces, loopback, other namespaces."""
import json
import socket

import pytest

import topology as net
from conftest import attach_pair


def clear_text_passes(sender_host, receiver_host, address):
    """A datagram and a TCP exchange between two addresses, compared octet by octet."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with receiver_host.socket(family, socket.SOCK_DGRAM) as receiver, \
         sender_host.socket(family, socket.SOCK_DGRAM) as sender:
        receiver.bind((address, 7100))
        receiver.settimeout(5)
        sender.sendto(b"as ever", (address, 7100))
        assert receiver.recv(100) == b"as ever"
    with receiver_host.socket(family, socket.SOCK_STREAM) as listener, \
         sender_host.socket(family, socket.SOCK_STREAM) as client:
        listener.bind((address, 7101))
        listener.listen()
        client.settimeout(5)
        client.connect((address, 7101))
        served, _ = listener.accept()
        with served:
            served.sendall(b"x" * 100000)
            served.shutdown(socket.SHUT_WR)
            data = b""
            while chunk := client.recv(65536):
                data += chunk
    assert data == b"x" * 100000


@pytest.fixture
def second_link(wire):
    """Another link between the two hosts, eth1, that is never attached."""
    a, b = wire.a, wire.b
    net.run_command(["ip", "link", "add", "eth1", "netns", a.netns, "type", "veth",
                     "peer", "name", "eth1", "netns", b.netns])
    for number, host in enumerate((a, b), 1):
        host.ip("addr", "add", f"10.10.0.{number}/24", "dev", "eth1")
        host.ip("addr", "add", f"fd00:10::{number}/64", "dev", "eth1", "nodad")
        host.ip("link", "set", "eth1", "up")
    return wire


def describe(host, ifname):
    link = json.loads(host.ip("-d", "-j", "link", "show", "dev", ifname).stdout)[0]
    filters = [host.run("tc", "filter", "show", "dev", ifname, side).stdout
               for side in ("ingress", "egress")]
    qdiscs = host.run("tc", "qdisc", "show", "dev", ifname).stdout
    bpf = json.loads(host.run("bpftool", "-j", "net", "show", "dev", ifname).stdout)
    return link, filters, qdiscs, bpf


def test_other_interfaces_are_untouched(product, second_link):
    a, b = second_link.a, second_link.b
    before = {(host.name, name): describe(host, name) for host in (a, b) for name in ("eth1", "lo")}
    routes = [a.ip("route").stdout, a.ip("-6", "route").stdout, a.ip("rule").stdout]
    attach_pair(second_link)
    assert {(host.name, name): describe(host, name) for host in (a, b)
            for name in ("eth1", "lo")} == before
    assert routes == [a.ip("route").stdout, a.ip("-6", "route").stdout, a.ip("rule").stdout]
    for sender, receiver, address in ((a, b, "10.10.0.2"), (b, a, "fd00:10::1"),
                                      (a, a, "127.0.0.1"), (a, a, "::1"),
                                      (a, a, a.address(4)), (a, a, a.address(6))):
        clear_text_passes(sender, receiver, address)


def test_other_namespaces_are_untouched(pair):
    """Neighbours on the same machine, and the machine itself."""
    with net.Topology() as neighbours:
        clear_text_passes(neighbours.a, neighbours.b, neighbours.b.address(4))
        clear_text_passes(neighbours.a, neighbours.b, neighbours.b.address(6))
        assert net.IFNAME not in json.dumps(neighbours.a.json("status"))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.create_connection(listener.getsockname(), 5) as client:
            served, _ = listener.accept()
            with served:
                served.sendall(b"untouched")
            assert client.recv(100) == b"untouched"


def test_attachments_of_two_hosts_do_not_collide(pair):
    """Both are called eth0 and share bpffs and /run; detaching one leaves the other."""
    pair.a.ipsecbpf("detach", net.IFNAME, "--open")
    assert not pair.a.attached() and pair.b.attached()
    assert pair.b.status()["state"] == "running"


def test_detach_restores_the_interface(product, wire):
    before = describe(wire.a, net.IFNAME)
    attach_pair(wire)
    wire.a.ipsecbpf("detach", net.IFNAME, "--open")
    after = describe(wire.a, net.IFNAME)
    assert after[0]["mtu"] == before[0]["mtu"] and "xdp" not in after[0]
    assert after[1] == before[1]
    assert after[3] == before[3]
    names = [link["ifname"] for link in json.loads(wire.a.ip("-j", "link").stdout)]
    assert sorted(names) == ["eth0", "lo"]
