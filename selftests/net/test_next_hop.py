# SPDX-License-Identifier: BSD-2-Clause
"""The layer-2 next hop of a tunnel: from the kernel's routes and neighbours, and kept up to date."""
import json
import os
import queue
import subprocess
import threading

import pytest

import topology as net

DRIVER = os.path.join(net.BUILD, "net", "net_watch_driver")
GATEWAY_MAC, OTHER_MAC = "02:00:00:00:00:fe", "02:00:00:00:00:fd"
KNOWN = 1 << 63


class Driver:
    """net_watch on host a; hops: what was last reported, by slot."""

    def __init__(self, host):
        self.hops = {}
        self.reports = []
        self.answers = queue.Queue()
        self.process = host.spawn(DRIVER, net.IFNAME, stdin=subprocess.PIPE, stderr=None)
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()
        self.sync()

    def _read(self):
        for line in self.process.stdout:
            answer = json.loads(line)
            if isinstance(answer[0], int):
                self.hops[answer[0]] = answer[1]
                self.reports.append(tuple(answer))
            else:
                self.answers.put(answer)

    def tell(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        self.process.stdin.flush()

    def ask(self, word):
        self.tell(word)
        answer = self.answers.get(timeout=10)
        assert answer[0] == word
        return answer[1:]

    def sync(self):
        self.ask("sync")

    def wait(self, slot, mac, timeout=20):
        try:
            net.wait_until(lambda: slot in self.hops and self.hops[slot] == mac,
                           f"next hop of slot {slot}", timeout)
        except net.Failure as error:
            raise net.Failure(f"{error}; reported: {self.reports}") from None

    def told_at_once(self, slot, mac):
        """Known when track returned: nothing has to be waited for but the driver's output."""
        self.sync()
        assert self.hops.get(slot) == mac, self.reports


@pytest.fixture
def driver(wire):
    """Drives net_watch on host a, the peer of host b. Nothing happens there by itself any more: an
    address that becomes valid would have the routes asked for again."""
    net.wait_until(lambda: '"link"' in wire.a.ip("-j", "addr").stdout and
                   not json.loads(wire.a.ip("-j", "addr", "show", "tentative").stdout or "[]"),
                   "link-local address")
    a = Driver(wire.a)
    yield a
    assert a.process.poll() is None, "net_watch_driver ended"
    a.process.stdin.close()
    assert a.process.wait(10) == 0


def neighbour_state(host, address):
    entries = json.loads(host.ip("-j", "neigh", "show", "dev", net.IFNAME, "to", address).stdout)
    return entries[0]["state"] if entries else []


@pytest.mark.parametrize("family", [4, 6])
def test_a_peer_on_the_link_is_resolved(wire, driver, family):
    """Nobody has sent anything to it before: the kernel asks, as it has been told to."""
    assert neighbour_state(wire.a, wire.b.address(family)) == []
    driver.tell("track", 1, wire.b.address(family))
    driver.wait(1, wire.b.mac)


@pytest.mark.parametrize("family", [4, 6])
def test_a_peer_behind_a_gateway_is_sent_to_the_gateway(wire, driver, family):
    target, prefix = {4: ("10.50.0.1", "10.50.0.0/16"), 6: ("fd00:50::1", "fd00:50::/32")}[family]
    wire.a.ip("route", "add", prefix, "via", wire.b.address(family))
    driver.tell("track", 1, target)
    driver.wait(1, wire.b.mac)


def test_an_ipv4_peer_may_have_an_ipv6_gateway(wire, driver):
    wire.a.ip("route", "add", "10.50.0.0/16", "via", "inet6", wire.b.address(6))
    driver.tell("track", 1, "10.50.0.1")
    driver.wait(1, wire.b.mac)


@pytest.mark.parametrize("family", [4, 6])
def test_next_hop_objects_and_several_paths(wire, driver, family):
    target, prefix, second = {4: ("10.50.0.1", "10.50.0.0/16", "10.9.0.77"),
                              6: ("fd00:50::1", "fd00:50::/32", "fd00:9::77")}[family]
    wire.a.neighbour(second, wire.b.mac)
    wire.a.sysctl("net.ipv4.nexthop_compat_mode", 0)
    wire.a.ip("nexthop", "add", "id", 1, "via", wire.b.address(family), "dev", net.IFNAME)
    wire.a.ip("nexthop", "add", "id", 2, "via", second, "dev", net.IFNAME)
    wire.a.ip("nexthop", "add", "id", 3, "group", "1/2")
    wire.a.ip(f"-{family}", "route", "add", prefix, "nhid", 3)
    driver.tell("track", 1, target)
    driver.wait(1, wire.b.mac)
    # the object alone is replaced: without compatibility mode no event tells of a route
    wire.a.neighbour(second, GATEWAY_MAC)
    wire.a.ip("nexthop", "replace", "id", 3, "group", "2")
    driver.wait(1, GATEWAY_MAC)


def test_a_known_neighbour_is_told_at_once(wire, driver):
    wire.a.neighbour("10.9.0.77", GATEWAY_MAC)
    wire.a.ip("route", "add", "10.50.0.0/16", "via", "10.9.0.77")
    driver.tell("track", 1, "10.50.0.1")
    driver.told_at_once(1, GATEWAY_MAC)
    # the slot's next user, elsewhere
    wire.a.neighbour("10.9.0.78", OTHER_MAC)
    driver.tell("track", 1, "10.9.0.78")
    driver.told_at_once(1, OTHER_MAC)


def test_a_permanent_entry_stays_permanent(wire, driver):
    """Asking the kernel to use it would make it an entry that expires."""
    wire.a.neighbour("10.9.0.77", GATEWAY_MAC)
    driver.tell("track", 1, "10.9.0.77")
    driver.told_at_once(1, GATEWAY_MAC)
    assert neighbour_state(wire.a, "10.9.0.77") == ["PERMANENT"]


def test_a_replaced_neighbour_entry_is_followed(wire, driver):
    wire.a.neighbour("10.9.0.77", GATEWAY_MAC)
    driver.tell("track", 1, "10.9.0.77")
    driver.wait(1, GATEWAY_MAC)
    wire.a.neighbour("10.9.0.77", OTHER_MAC)
    driver.wait(1, OTHER_MAC)


def test_a_neighbour_with_a_new_mac_address_is_found_again(wire, driver):
    """It says nothing of it. Nobody but net_watch uses the entry, so only it can have noticed."""
    a, b = wire.a, wire.b
    for name, value in (("base_reachable_time_ms", 100), ("retrans_time_ms", 50),
                        ("delay_first_probe_time", 1)):
        a.sysctl(f"net.ipv4.neigh.{net.IFNAME}.{name}", value)
    driver.tell("track", 1, b.address(4))
    driver.wait(1, b.mac)
    b.ip("link", "set", net.IFNAME, "address", OTHER_MAC)
    driver.wait(1, OTHER_MAC, timeout=60)
    assert (1, None) in driver.reports      # gone first: what is not certain is not used


def test_a_deleted_neighbour_entry_is_made_again(wire, driver):
    driver.tell("track", 1, wire.b.address(4))
    driver.wait(1, wire.b.mac)
    wire.a.ip("neigh", "del", wire.b.address(4), "dev", net.IFNAME)
    net.wait_until(lambda: (1, None) in driver.reports, "report of the loss")
    driver.wait(1, wire.b.mac)


def test_a_changed_route_is_followed(wire, driver):
    a = wire.a
    a.neighbour("10.9.0.77", GATEWAY_MAC)
    a.neighbour("10.9.0.78", OTHER_MAC)
    driver.tell("track", 1, "10.50.0.1")
    driver.sync()
    assert driver.hops.get(1) is None
    a.ip("route", "add", "default", "via", "10.9.0.77")
    driver.wait(1, GATEWAY_MAC)
    a.ip("route", "add", "10.50.0.0/16", "via", "10.9.0.78")
    driver.wait(1, OTHER_MAC)
    a.ip("route", "add", "10.51.0.0/16", "via", "10.9.0.77", "table", 77)
    a.ip("route", "add", "10.50.0.0/16", "via", "10.9.0.77", "table", 77)
    a.ip("rule", "add", "pref", 50, "to", "10.50.0.0/16", "lookup", 77)
    driver.wait(1, GATEWAY_MAC)
    a.ip("rule", "del", "pref", 50)
    driver.wait(1, OTHER_MAC)
    a.ip("route", "del", "10.50.0.0/16")
    driver.wait(1, GATEWAY_MAC)
    a.ip("route", "del", "default")
    driver.wait(1, None)


@pytest.mark.parametrize("family", [4, 6])
def test_a_way_by_another_interface_is_no_way(wire, driver, family):
    """Also where a station on the NIC's link would answer for the target."""
    target, prefix = {4: ("10.50.0.1", "10.50.0.0/16"), 6: ("fd00:50::1", "fd00:50::/32")}[family]
    wire.a.neighbour(target, GATEWAY_MAC)
    wire.a.ip("link", "add", "other", "type", "veth", "peer", "name", "far")
    for name in ("other", "far"):
        wire.a.ip("link", "set", name, "up")
    wire.a.ip(f"-{family}", "route", "add", prefix, "dev", "other")
    driver.tell("track", 1, target)
    driver.sync()
    assert driver.hops.get(1) is None
    wire.a.ip("route", "add", f"{target}/{32 if family == 4 else 128}", "dev", net.IFNAME)
    driver.wait(1, GATEWAY_MAC)
    wire.a.ip("route", "del", f"{target}/{32 if family == 4 else 128}", "dev", net.IFNAME)
    driver.wait(1, None)


@pytest.mark.parametrize("kind", ["unreachable", "blackhole", "prohibit"])
def test_a_refusing_route_is_no_way(wire, driver, kind):
    wire.a.neighbour("10.9.0.77", GATEWAY_MAC)
    wire.a.ip("route", "add", "default", "via", "10.9.0.77")
    driver.tell("track", 1, "10.50.0.1")
    driver.wait(1, GATEWAY_MAC)
    wire.a.ip("route", "add", kind, "10.50.0.0/16")
    driver.wait(1, None)


@pytest.mark.parametrize("target", ["10.50.0.1", "fd00:50::1"])
def test_a_given_next_hop_wins(wire, driver, target):
    """on_link: a neighbour on the NIC, though the routes say otherwise or nothing."""
    wire.a.neighbour("10.9.0.77", OTHER_MAC)
    wire.a.ip("route", "add", "default", "via", "10.9.0.77")
    wire.a.neighbour(target, GATEWAY_MAC)
    driver.tell("track", 1, target, "on_link")
    driver.told_at_once(1, GATEWAY_MAC)
    wire.a.ip("route", "del", "default")
    driver.sync()
    assert driver.hops[1] == GATEWAY_MAC


def test_an_unresolvable_neighbour_is_unknown_until_it_answers(wire, driver):
    wire.a.sysctl(f"net.ipv4.neigh.{net.IFNAME}.retrans_time_ms", 50)
    driver.tell("track", 1, "10.9.0.99")
    net.wait_until(lambda: neighbour_state(wire.a, "10.9.0.99") == ["FAILED"], "resolution fails")
    driver.sync()
    assert driver.hops.get(1) is None
    wire.b.ip("addr", "add", "10.9.0.99/24", "dev", net.IFNAME)
    driver.wait(1, wire.b.mac)


def test_an_untracked_slot_hears_no_more(wire, driver):
    wire.a.neighbour("10.9.0.77", GATEWAY_MAC)
    for slot in (1, 2):
        driver.tell("track", slot, "10.9.0.77")
        driver.wait(slot, GATEWAY_MAC)
    driver.tell("untrack", 1)
    wire.a.neighbour("10.9.0.77", OTHER_MAC)
    driver.wait(2, OTHER_MAC)
    driver.sync()
    assert driver.hops[1] == GATEWAY_MAC


def test_more_slots_than_questions_at_once(wire, driver):
    """All of them get an answer, after one change too."""
    wire.a.neighbour("10.9.0.77", GATEWAY_MAC)
    wire.a.neighbour("10.9.0.78", OTHER_MAC)
    wire.a.ip("route", "add", "10.50.0.0/16", "via", "10.9.0.77")
    for slot in range(1, 1001):
        driver.tell("track", slot, f"10.50.{slot // 250}.{slot % 250}")
    for slot in range(1, 1001):
        driver.wait(slot, GATEWAY_MAC)
    wire.a.ip("route", "replace", "10.50.0.0/16", "via", "10.9.0.78")
    for slot in range(1, 1001):
        driver.wait(slot, OTHER_MAC)


def test_an_overrun_of_events_is_made_good(wire, driver):
    """While net_watch stands still, more is told than its buffer holds."""
    a = wire.a
    a.neighbour("10.9.0.77", GATEWAY_MAC)
    driver.tell("track", 1, "10.9.0.77")
    driver.wait(1, GATEWAY_MAC)
    with net.stopped(driver.process.pid, a):
        batch = [f"neigh replace 10.9.1.{i % 250} lladdr 02:00:00:00:01:{i % 199:02x} dev "
                 f"{net.IFNAME} nud permanent" for i in range(4000)]
        a.run("ip", "-batch", "-", input="\n".join(batch) + "\n")
        a.neighbour("10.9.0.77", OTHER_MAC)
        assert net.netlink_drops(a, driver.process.pid) > 0
    driver.wait(1, OTHER_MAC)


# ---- the product --------------------------------------------------------------------------------

def next_hop_of(host, slot):
    """sa_state.next_hop of a slot, as a MAC address; None if unknown."""
    path = os.path.join(net.PIN_ROOT, host.key, "maps", "sa_state")
    key = [str(octet) for octet in slot.to_bytes(4, "little")]
    entry = json.loads(net.run_command(["bpftool", "-j", "map", "lookup", "pinned", path, "key",
                                        *key]).stdout)
    value = entry["formatted"]["value"]["next_hop"]
    if not value & KNOWN:
        assert value == 0
        return None
    return ":".join(f"{octet:02x}" for octet in (value & ~KNOWN).to_bytes(6, "big"))


def attach_with(topology, mode, **more):
    a, b = topology.a, topology.b
    sas = topology.write("sa.json", net.both_ways(a, b, mode=mode, **more), mode=0o600)
    policy = topology.write("policy.json", net.protect_all(b, mode=mode))
    a.ipsecbpf("attach", net.IFNAME, "--policy", policy, "--sa", sas, "--fresh")
    listed = a.json("sa", "list", net.IFNAME)["sas"]
    return [sa["slot"] for sa in listed if sa["dir"] == "out"], \
        [sa["slot"] for sa in listed if sa["dir"] == "in"]


def test_outbound_tunnels_have_a_next_hop(product, wire):
    a, b = wire.a, wire.b
    out, inbound = attach_with(wire, "tunnel")
    assert len(out) == 2
    for slot in out:
        net.wait_until(lambda: next_hop_of(a, slot) == b.mac, f"next hop of slot {slot}")
    assert {next_hop_of(a, slot) for slot in inbound} == {None}
    for family in (4, 6):
        a.neighbour(b.address(family), GATEWAY_MAC)
    for slot in out:
        net.wait_until(lambda: next_hop_of(a, slot) == GATEWAY_MAC, "its new MAC address")


def test_the_next_hop_of_the_sa_file_wins(product, wire):
    wire.a.neighbour("10.9.0.77", GATEWAY_MAC)
    out, _ = attach_with(wire, "tunnel", families=(4,), next_hop="10.9.0.77")
    for slot in out:
        net.wait_until(lambda: next_hop_of(wire.a, slot) == GATEWAY_MAC, "the given next hop")


def test_transport_sas_have_none(product, wire):
    for family in (4, 6):
        wire.a.neighbour(wire.b.address(family), GATEWAY_MAC)
    out, inbound = attach_with(wire, "transport")
    assert {next_hop_of(wire.a, slot) for slot in out + inbound} == {None}
