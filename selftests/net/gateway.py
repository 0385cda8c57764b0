# SPDX-License-Identifier: BSD-2-Clause
"""Two sites, each behind a gateway, and a router between the gateways that knows of neither site.

    h1 eth0 --- eth1 g1 eth0 --- g1 [ "wire": router, capture ] g2 --- eth0 g2 eth1 --- eth0 h2
    10.1.0.1    .254 10.9.1.1    .254                         .254  10.9.2.1  .254     10.2.0.1
    fd00:1::1   ::fe fd00:9:1::1 ::fe                         ::fe  fd00:9:2::1 ::fe  fd00:2::1
"""
import contextlib
import json

import topology as net
from modes import AH, CBC, GCM, UDP, Mode
from routed import RoutedTopology
from wire import run_command

INSIDE = "eth1"


def prefixes(number):
    """What is behind gateway 1 or 2."""
    return [f"10.{number}.0.0/24", f"fd00:{number}::/64"]


class Gateways(RoutedTopology):
    """forwarding=False: addresses and links alone, for whoever sets up the gateways."""

    def __init__(self, forwarding=True):
        super().__init__(hosts=("h1", "g1", "h2", "g2"))
        if forwarding:
            for gateway in self.outside():
                self.forward(gateway)

    def outside(self):
        return [host for host in self.hosts if host.name.startswith("g")]

    def sides(self):
        """(number, host inside, its gateway)"""
        return [(1, self.h1, self.g1), (2, self.h2, self.g2)]

    def _build_links(self, mtu):
        super()._build_links(mtu)
        for number, host, gateway in self.sides():
            run_command(["ip", "link", "add", net.IFNAME, "netns", host.netns, "mtu", str(mtu),
                         "type", "veth", "peer", "name", INSIDE, "netns", gateway.netns,
                         "mtu", str(mtu)])
            host.addresses = [f"10.{number}.0.1/24", f"fd00:{number}::1/64"]
            gateway.inside = [f"10.{number}.0.254", f"fd00:{number}::fe"]

    def _wait_for_link(self, host):
        if host in self.outside():
            super()._wait_for_link(host)
            return
        number, _, gateway = next(side for side in self.sides() if side[1] is host)
        for address, length in zip(gateway.inside, (24, 64)):
            gateway.ip("addr", "add", f"{address}/{length}", "dev", INSIDE,
                       *(["nodad"] if ":" in address else []))
        gateway.ip("link", "set", INSIDE, "up")
        gateway.inside_mac = json.loads(gateway.ip("-j", "link", "show", "dev", INSIDE)
                                        .stdout)[0]["address"]
        for address, mine, everything in zip(gateway.inside, host.addresses, ("default", "::/0")):
            host.neighbour(address, gateway.inside_mac)
            host.ip("route", "add", everything, "via", address, "dev", net.IFNAME)
            gateway.ip("neigh", "replace", mine.split("/")[0], "lladdr", host.mac, "dev", INSIDE,
                       "nud", "permanent")

    def forward(self, gateway):
        """A strict router: it checks sources, and its own errors come from its inside address."""
        number = self.outside().index(gateway) + 1
        other = 3 - number
        for name, value in (("net.ipv4.ip_forward", 1), ("net.ipv6.conf.all.forwarding", 1),
                            ("net.ipv4.conf.all.rp_filter", 1), ("net.ipv4.icmp_ratelimit", 0),
                            ("net.ipv6.icmp.ratelimit", 0)):
            gateway.sysctl(name, value)
        self.route(gateway, *[f"{prefix} via {router} src {mine}" for prefix, router, mine in zip(
                prefixes(other), (f"10.9.{number}.254", f"fd00:9:{number}::fe"), gateway.inside)])

    @staticmethod
    def route(gateway, *routes):
        for route in routes:
            gateway.ip("route", "replace", *route.split(), "dev", net.IFNAME)

    def router_mac(self, gateway):
        """Of the router, on the link to a gateway."""
        return json.loads(run_command(["ip", "-n", self.wire, "-j", "link", "show", "dev",
                                       gateway.name]).stdout)[0]["address"]

    def set_router_mac(self, gateway, mac):
        run_command(["ip", "-n", self.wire, "link", "set", "dev", gateway.name, "address", mac])

    def capture(self):
        """What the gateways send to the router."""
        return self._captured([self.port(gateway) for gateway in self.outside()])

    def arrivals(self, host):
        """What arrives at a host inside."""
        return self._captured([self.inside_port(host)])

    def departures(self):
        """What the hosts inside send to their gateways."""
        return self._captured([self._port(gateway.netns, INSIDE) for gateway in self.outside()])

    def inside_port(self, host):
        """Sends as host; receives what it gets."""
        return self._port(host.netns, net.IFNAME)

    def _port(self, netns, ifname):
        port = net.Port(netns, ifname)
        self.closers.append(port.close)
        return port

    def _captured(self, ports):
        capture = net.Capture(ports)
        self.closers.append(capture.close)
        return capture

    @contextlib.contextmanager
    def offload(self, host, ifname, *settings):
        """Settings as for ethtool -K ("tso", "off"), undone afterwards."""
        host.run("ethtool", "-K", ifname, *settings)
        try:
            yield
        finally:
            undo = ["on" if word == "off" else "off" if word == "on" else word
                    for word in settings]
            host.run("ethtool", "-K", ifname, *undo)


class Site(Mode):
    """A way to protect what is between the sites."""

    def rule(self, number, **more):
        return {"name": "sites", "action": "protect", "peer": "peer",
                "protection": self.layers[0][0], "local": prefixes(number),
                "remote": prefixes(3 - number), **more}

    def gateway_policy(self, topology, number, rules=None, **protection):
        """For gateway 1 or 2; rules: instead of the usual one."""
        peer = topology.outside()[2 - number]
        protections = self.protections()
        protections[self.layers[0][0]].update(protection)
        return net.policy(rules or [self.rule(number)],
                          {"peer": [peer.address(4), peer.address(6)]}, protections)

    def apply(self, topology, policies=(None, None), **sa):
        """On both gateways, whatever was there before. policies: instead of gateway_policy()."""
        gateways = topology.outside()
        document = self.sas(*gateways)
        for each in document["sas"]:
            each.update(sa)
        sas = topology.write("sa.json", document, mode=0o600)
        for number, (gateway, policy) in enumerate(zip(gateways, policies), 1):
            policy = topology.write(f"policy-{gateway.name}.json",
                                    policy or self.gateway_policy(topology, number))
            if gateway.attached():
                gateway.ipsecbpf("sa", "flush", net.IFNAME)
                gateway.ipsecbpf("policy", "apply", net.IFNAME, policy)
                gateway.ipsecbpf("sa", "apply", net.IFNAME, sas, "--fresh")
            else:
                gateway.ipsecbpf("attach", net.IFNAME, "--policy", policy, "--sa", sas, "--fresh")


SITES = [
    Site("esp", [("site", GCM, "tunnel", {})]),
    Site("esp-in-ipv6", [("site", CBC, "tunnel", {})], outer=(6,)),
    Site("esp-in-ipv4", [("site", GCM, "tunnel", {})], outer=(4,)),
    Site("udp", [("site", GCM, "tunnel", {"encap": UDP})]),
    Site("ah", [("site", AH, "tunnel", {})]),
]
