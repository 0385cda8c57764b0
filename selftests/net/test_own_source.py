# SPDX-License-Identifier: BSD-2-Clause
"""This host's own addresses: the map follows the kernel, and nobody outside may use them."""
import ipaddress
import json
import os
import socket

import pytest
from scapy.all import ARP, ICMPv6NDOptDstLLAddr, ICMPv6ND_NA, IP, IPv6, UDP, Ether

import topology as net

PEER_MAC = "02:00:00:00:00:77"
MAP_SIZE = 4096
LOOPBACK = {"127.0.0.1", "::1"}


def own_addresses(host):
    """What is in the map."""
    path = os.path.join(net.PIN_ROOT, host.key, "maps", "own_addresses")
    found = set()
    for entry in json.loads(net.run_command(["bpftool", "-j", "map", "dump", "pinned",
                                             path]).stdout):
        key = bytes(int(octet, 16) for octet in entry["key"])
        found.add(str(ipaddress.ip_address(key[:16] if key[16] else key[:4])))
    return found


def wait_for(host, expected, timeout=20):
    try:
        net.wait_until(lambda: own_addresses(host) == expected, "own addresses", timeout)
    except net.Failure as error:
        found = own_addresses(host)
        raise net.Failure(f"{error}; missing {sorted(expected - found)[:9]}, "
                          f"too many {sorted(found - expected)[:9]}") from None


def link_local(host, ifname=net.IFNAME):
    links = json.loads(host.ip("-j", "-6", "addr", "show", "dev", ifname, "scope", "link").stdout)
    return {address["local"] for link in links for address in link.get("addr_info", [])
            if "local" in address}


def wait_for_link_local(host):
    """The kernel's own, when it has become the host's."""
    def ready():
        found = link_local(host)
        return found and not any(address_flags(host, address).get("tentative")
                                 for address in found)
    net.wait_until(ready, "link-local address")


def address_flags(host, address):
    for link in json.loads(host.ip("-j", "addr", "show", "dev", net.IFNAME).stdout):
        for entry in link.get("addr_info", []):
            if entry.get("local") == address:
                return entry
    return {}


def configured(host):
    return LOOPBACK | {address.split("/")[0] for address in host.addresses} | link_local(host)


@pytest.fixture
def attached(product, lone):
    """Host a, attached, everything bypassed; what is in the map at the start is right."""
    policy = lone.write("policy.json", net.policy([{"name": "all", "action": "bypass"}]))
    wait_for_link_local(lone.a)
    lone.a.ipsecbpf("attach", net.IFNAME, "--policy", policy)
    wait_for(lone.a, configured(lone.a))
    return lone.a


def batch(host, commands):
    host.run("ip", "-batch", "-", input="\n".join(commands) + "\n")


# ---- the map ------------------------------------------------------------------------------------

def test_the_map_is_filled_when_attach_returns(product, lone):
    wait_for_link_local(lone.a)
    policy = lone.write("policy.json", net.policy([{"name": "all", "action": "bypass"}]))
    batch(lone.a, [f"addr add 10.200.{i >> 8}.{i & 255}/32 dev lo" for i in range(1000)])
    lone.a.ipsecbpf("attach", net.IFNAME, "--policy", policy)
    assert len(own_addresses(lone.a)) == 1000 + len(configured(lone.a))


@pytest.mark.parametrize("address", ["10.77.0.1/24", "fd00:77::1/64"])
@pytest.mark.parametrize("ifname", [net.IFNAME, "lo"])
def test_addresses_come_and_go(attached, address, ifname):
    before = configured(attached)
    nodad = ["nodad"] if ":" in address else []
    attached.ip("addr", "add", address, "dev", ifname, *nodad)
    wait_for(attached, before | {address.split("/")[0]})
    attached.ip("addr", "del", address, "dev", ifname)
    wait_for(attached, before)


def test_an_address_that_is_there_twice_stays_until_both_are_gone(attached):
    """Once more on another interface, and with another prefix length."""
    before = configured(attached)
    for place in (("10.77.0.1/24", net.IFNAME), ("10.77.0.1/32", net.IFNAME),
                  ("10.77.0.1/32", "lo")):
        attached.ip("addr", "add", place[0], "dev", place[1])
    wait_for(attached, before | {"10.77.0.1"})
    marker = 0
    for place in (("10.77.0.1/24", net.IFNAME), ("10.77.0.1/32", "lo")):
        attached.ip("addr", "del", place[0], "dev", place[1])
        marker += 1         # what is told after it has been handled when this has come and gone
        attached.ip("addr", "add", f"10.78.0.{marker}/32", "dev", "lo")
        wait_for(attached, before | {"10.77.0.1", f"10.78.0.{marker}"})
        attached.ip("addr", "del", f"10.78.0.{marker}/32", "dev", "lo")
        wait_for(attached, before | {"10.77.0.1"})
    attached.ip("addr", "del", "10.77.0.1/32", "dev", net.IFNAME)
    wait_for(attached, before)


@pytest.mark.parametrize("mine, other", [("10.77.0.1", "10.77.0.2"), ("fd00:77::1", "fd00:77::2")])
def test_the_other_end_of_a_point_to_point_link_is_not_ours(attached, mine, other):
    nodad = ["nodad"] if ":" in mine else []
    before = configured(attached)
    attached.ip("addr", "add", mine, "peer", other, "dev", net.IFNAME, *nodad)
    wait_for(attached, before | {mine})


def test_link_local_addresses_of_other_links_are_not_ours(attached):
    """fe80::1 on two links is two addresses; the one beyond the NIC may be a router's."""
    before = configured(attached)
    attached.ip("link", "add", "eth1", "type", "veth", "peer", "name", "eth2")
    attached.ip("link", "set", "eth1", "up")
    attached.ip("addr", "add", "fe80::1/64", "dev", "eth1", "nodad")
    attached.ip("addr", "add", "10.78.0.1/32", "dev", "eth1")
    wait_for(attached, before | {"10.78.0.1"})
    attached.ip("addr", "add", "fe80::1/64", "dev", net.IFNAME, "nodad")
    wait_for(attached, before | {"10.78.0.1", "fe80::1"})


def test_an_address_is_ours_only_after_duplicate_address_detection(attached, lone):
    """And never if another station has it: that station's packets must come in."""
    host, port, before = attached, lone.port(lone.a), configured(attached)
    host.sysctl("net.ipv6.conf.all.accept_dad", 1)
    host.sysctl(f"net.ipv6.conf.{net.IFNAME}.accept_dad", 1)
    host.sysctl(f"net.ipv6.conf.{net.IFNAME}.dad_transmits", 100)
    host.ip("addr", "add", "fd00:9::77/64", "dev", net.IFNAME)
    assert address_flags(host, "fd00:9::77").get("tentative")
    host.ip("addr", "add", "10.78.0.1/32", "dev", "lo")
    wait_for(host, before | {"10.78.0.1"})
    claim = (Ether(src=PEER_MAC, dst="33:33:00:00:00:01") / IPv6(src="fd00:9::77", dst="ff02::1") /
             ICMPv6ND_NA(tgt="fd00:9::77", R=0, S=0, O=1) / ICMPv6NDOptDstLLAddr(lladdr=PEER_MAC))

    def found_duplicate():
        port.send(claim)
        return address_flags(host, "fd00:9::77").get("dadfailed")

    net.wait_until(found_duplicate, "duplicate found")
    host.ip("addr", "add", "10.78.0.2/32", "dev", "lo")
    wait_for(host, before | {"10.78.0.1", "10.78.0.2"})
    host.sysctl(f"net.ipv6.conf.{net.IFNAME}.dad_transmits", 1)
    host.ip("addr", "add", "fd00:9::78/64", "dev", net.IFNAME)
    wait_for(host, before | {"10.78.0.1", "10.78.0.2", "fd00:9::78"})


def flood(command, count=5000):
    return [f"addr {command} 10.{200 + (i >> 16)}.{i >> 8 & 255}.{i & 255}/32 dev lo"
            for i in range(count)]


def test_a_flood_of_addresses_is_survived(attached):
    """More than the map takes. What there is room for later has its place then."""
    before = configured(attached)
    supervisor = attached.status()["supervisor_pid"]
    batch(attached, flood("add"))
    net.wait_until(lambda: len(own_addresses(attached)) == MAP_SIZE, "full map")
    assert before <= own_addresses(attached)
    attached.ip("addr", "add", "10.77.0.1/32", "dev", "lo")     # no room
    batch(attached, flood("del"))
    wait_for(attached, before | {"10.77.0.1"})
    assert attached.status()["supervisor_pid"] == supervisor


def test_an_overrun_of_events_is_made_good(attached):
    before = configured(attached)
    supervisor = attached.status()["supervisor_pid"]
    attached.ip("addr", "add", "10.77.0.1/32", "dev", "lo")
    wait_for(attached, before | {"10.77.0.1"})
    with net.stopped(supervisor, attached):
        batch(attached, flood("add", 3000))
        attached.ip("addr", "del", "10.77.0.1/32", "dev", "lo")
        attached.ip("addr", "add", "10.77.0.2/32", "dev", "lo")
        batch(attached, flood("del", 3000))
        assert net.netlink_drops(attached, supervisor) > 0
    wait_for(attached, before | {"10.77.0.2"})


# ---- what it is for -----------------------------------------------------------------------------

def frame(host, src, dst):
    ip = IPv6(src=src, dst=dst) if ":" in src else IP(src=src, dst=dst)
    return bytes(Ether(src=PEER_MAC, dst=host.mac) / ip / UDP(sport=7000, dport=7001) / b"forged")


@pytest.mark.parametrize("family", [4, 6])
def test_a_packet_from_outside_with_our_source_is_dropped(attached, lone, family):
    port, own = lone.port(lone.a), attached.address(family)
    other = {4: "10.9.0.77", 6: "fd00:9::77"}[family]
    before = attached.drops()
    port.send(frame(attached, own, own))
    attached.wait_drop("own_source", before["own_source"])
    passed = attached.passed("in_bypass")
    port.send(frame(attached, other, own))
    net.wait_until(lambda: attached.passed("in_bypass") > passed, "another's packet passes")
    assert attached.drops("own_source") == before["own_source"] + 1


@pytest.mark.parametrize("family", [4, 6])
def test_a_new_address_is_protected_and_a_lost_one_is_anothers(attached, lone, family):
    port, own = lone.port(lone.a), attached.address(family)
    address, nodad = {4: ("10.9.0.77/24", []), 6: ("fd00:9::77/64", ["nodad"])}[family]
    plain, known = address.split("/")[0], configured(attached)
    attached.ip("addr", "add", address, "dev", net.IFNAME, *nodad)
    wait_for(attached, known | {plain})
    before = attached.drops("own_source")
    port.send(frame(attached, plain, own))
    attached.wait_drop("own_source", before)
    attached.ip("addr", "del", address, "dev", net.IFNAME)
    wait_for(attached, known)
    passed = attached.passed("in_bypass")
    port.send(frame(attached, plain, own))
    net.wait_until(lambda: attached.passed("in_bypass") > passed, "its new holder's packet passes")


def test_duplicate_address_detection_by_others_is_answered(attached, lone):
    """A probe for our address and its ARP counterpart are essential, whatever they claim."""
    before = attached.drops("own_source")
    port, passed = lone.port(lone.a), attached.passed("in_essential")
    port.send(bytes(Ether(src=PEER_MAC, dst="ff:ff:ff:ff:ff:ff") /
                    ARP(op=1, hwsrc=PEER_MAC, psrc=attached.address(4), pdst=attached.address(4))))
    net.wait_until(lambda: attached.passed("in_essential") > passed, "ARP passes")
    assert attached.drops("own_source") == before


@pytest.fixture
def gateway(product, lone):
    """Host a, which forwards from an inside interface and protects what goes to 10.9.0.77. The
    kernel's own check of sources is switched off."""
    host = lone.a
    host.ip("link", "add", "inside", "type", "veth", "peer", "name", "station")
    for name in ("inside", "station"):
        host.ip("link", "set", name, "up")
    host.ip("addr", "add", "10.60.0.1/24", "dev", "inside")
    host.neighbour("10.9.0.77", PEER_MAC)
    for name in ("all", "inside"):
        host.sysctl(f"net.ipv4.conf.{name}.accept_local", 1)
        host.sysctl(f"net.ipv4.conf.{name}.rp_filter", 0)
    host.sysctl("net.ipv4.ip_forward", 1)
    policy = lone.write("policy.json", net.policy(
            [{"name": "wire", "action": "protect", "peer": "peer", "protection": "wire"}],
            {"peer": ["10.9.0.77"]}, {"wire": net.protection_of()}))
    sas = lone.write("sa.json", net.sa_file(net.new_sa("10.9.0.1", "10.9.0.77", 0x1000)), mode=0o600)
    host.ipsecbpf("attach", net.IFNAME, "--policy", policy, "--sa", sas, "--fresh")
    return host


def test_a_forwarded_packet_with_our_source_is_not_protected(gateway, lone):
    """A station inside must not speak as this host to its peer."""
    host = gateway
    inside = json.loads(host.ip("-j", "link", "show", "dev", "inside").stdout)[0]["address"]
    station = net.Port(host.netns, "station")
    lone.closers.append(station.close)
    capture = lone.capture()
    before, protected = host.drops("own_source"), host.passed("out_protect")
    station.send(bytes(Ether(src=PEER_MAC, dst=inside) / IP(src="10.9.0.1", dst="10.9.0.77") /
                       UDP(sport=7000, dport=7001) / b"forged"))
    host.wait_drop("own_source", before)
    assert host.passed("out_protect") == protected
    assert "esp" not in {net.kind(data) for _, data in capture.frames}
    with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"honest", ("10.9.0.77", 7001))
    capture.wait(lambda data: net.kind(data) == "esp", "the host's own packet, protected")
    assert host.drops("own_source") == before + 1
