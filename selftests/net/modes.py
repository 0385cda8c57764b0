# SPDX-License-Identifier: BSD-2-Clause
"""Every mode in which two hosts can protect all that is between them, as policy and SAs."""
import topology as net

UDP = {"sport": 4500, "dport": 4500}


class Mode:
    """SAs and protections of one way to protect traffic. The last protection is the outermost.

    outer: address families of the outer headers. Without `cross`, each family of traffic has SAs
    of its own family; with it, one family carries both.
    """

    def __init__(self, name, layers, outer=(4, 6)):
        self.name = name
        self.layers = layers        # (protection name, suite, mode, more of the SA), inside out
        self.outer = outer
        self.wire_protocol = 51 if layers[-1][1] in net.MACS else \
            17 if layers[-1][3].get("encap") else 50

    def __repr__(self):
        return self.name

    def protections(self):
        around = [layer[0] for layer in self.layers[1:]] + [None]
        return {name: net.protection_of(suite, mode, **({"within": within} if within else {}))
                for (name, suite, mode, _), within in zip(self.layers, around)}

    def policy(self, peer):
        """For the host whose only peer is `peer`."""
        addresses = [peer.address(4), peer.address(6)]
        rule = {"name": "everything", "action": "protect", "peer": "peer",
                "protection": self.layers[0][0], "remote": addresses}
        return net.policy([rule], {"peer": addresses}, self.protections())

    def sas(self, a, b):
        spi = 0x1000
        sas = []
        for name, suite, mode, more in self.layers:
            proto = {"proto": "ah"} if suite in net.MACS else {}
            for family in self.outer:
                for x, y in ((a, b), (b, a)):
                    spi += 1
                    sas.append(net.new_sa(x.address(family), y.address(family), spi, suite, name,
                                          mode=mode, **proto, **more))
        return net.sa_file(*sas)

    def apply(self, topology, first):
        """Attaches both hosts the first time, changes what they have otherwise."""
        a, b = topology.a, topology.b
        sas = topology.write("sa.json", self.sas(a, b), mode=0o600)
        for host, other in ((a, b), (b, a)):
            policy = topology.write(f"policy-{host.name}.json", self.policy(other))
            if first:
                host.ipsecbpf("attach", net.IFNAME, "--policy", policy, "--sa", sas, "--fresh")
            else:
                host.ipsecbpf("sa", "flush", net.IFNAME)
                host.ipsecbpf("policy", "apply", net.IFNAME, policy)
                host.ipsecbpf("sa", "apply", net.IFNAME, sas, "--fresh")


GCM, CBC, AH = "aes128gcm16", "aes128-sha256", "sha256"
MODES = [
    Mode("esp-transport", [("wire", GCM, "transport", {})]),
    Mode("esp-tunnel", [("wire", CBC, "tunnel", {})]),
    Mode("esp-tunnel-in-ipv6", [("wire", GCM, "tunnel", {})], outer=(6,)),
    Mode("esp-tunnel-in-ipv4", [("wire", GCM, "tunnel", {})], outer=(4,)),
    Mode("udp-transport", [("wire", GCM, "transport", {"encap": UDP})]),
    Mode("udp-tunnel", [("wire", GCM, "tunnel", {"encap": UDP})]),
    Mode("ah-transport", [("wire", AH, "transport", {})]),
    Mode("ah-tunnel", [("wire", AH, "tunnel", {})]),
    Mode("esp-within-ah", [("inner", GCM, "transport", {}), ("outer", AH, "transport", {})]),
    Mode("esp-within-tunnel", [("inner", CBC, "transport", {}), ("outer", GCM, "tunnel", {})]),
]
