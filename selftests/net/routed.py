# SPDX-License-Identifier: BSD-2-Clause
"""Two hosts with a router between them, which may carry less than the hosts' own links.

    host a  eth0 ---- a [ namespace "wire": router, capture ] b ---- eth0  host b
    10.9.1.1/24   .254                                    .254   10.9.2.1/24
    fd00:9:1::1/64  ::fe                                  ::fe   fd00:9:2::1/64
"""
import json

import topology as net
from wire import run_command


class RoutedTopology(net.Topology):
    """As Topology, but the wire routes. Neighbours are fixed: no test depends on ARP's pace."""

    def outside(self):
        """The hosts on the router, in the order of their numbers."""
        return self.hosts

    def _build_wire(self):
        run_command(["ip", "netns", "add", self.wire])
        self.wire_run("sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward;"
                      "echo 1 > /proc/sys/net/ipv6/conf/all/forwarding;"
                      "echo 0 > /proc/sys/net/ipv6/conf/all/accept_dad;"
                      "echo 0 > /proc/sys/net/ipv6/conf/default/accept_dad;"
                      # every packet-too-big counts: none is held back
                      "echo 0 > /proc/sys/net/ipv4/icmp_ratelimit;"
                      "echo 0 > /proc/sys/net/ipv6/icmp/ratelimit")

    def _build_links(self, mtu):
        for number, host in enumerate(self.outside(), 1):
            run_command(["ip", "link", "add", net.IFNAME, "netns", host.netns,
                         "mtu", str(mtu), "type", "veth", "peer", "name", host.name,
                         "netns", self.wire, "mtu", str(mtu)])
            host.addresses = [f"10.9.{number}.1/24", f"fd00:9:{number}::1/64"]
            for address in (f"10.9.{number}.254/24", f"fd00:9:{number}::fe/64"):
                run_command(["ip", "-n", self.wire, "addr", "add", address, "dev", host.name,
                             *(["nodad"] if ":" in address else [])])
            run_command(["ip", "-n", self.wire, "link", "set", "dev", host.name, "up"])

    def _wait_for_link(self, host):
        number = self.outside().index(host) + 1
        link = json.loads(run_command(["ip", "-n", self.wire, "-j", "link", "show", "dev",
                                       host.name]).stdout)
        mac = link[0]["address"]
        for gateway, everything in ((f"10.9.{number}.254", "default"),
                                    (f"fd00:9:{number}::fe", "::/0")):
            host.neighbour(gateway, mac)
            host.ip("route", "add", everything, "via", gateway, "dev", net.IFNAME)
        for address in host.addresses:
            run_command(["ip", "-n", self.wire, "neigh", "replace", address.split("/")[0],
                         "lladdr", host.mac, "dev", host.name, "nud", "permanent"])

    def narrow(self, mtu):
        """Sets what the router carries, in both directions, as a narrow link behind it would."""
        for host in self.outside():
            for address in host.addresses:
                run_command(["ip", "-n", self.wire, "route", "replace", address.split("/")[0],
                             "dev", host.name, "mtu", "lock", str(mtu)])
