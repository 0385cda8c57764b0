# SPDX-License-Identifier: BSD-2-Clause
"""What protects the traffic between an arm's two hosts: mixed into the arms of bench_tcp and
bench_latency, which have `hosts` (a topology of a and b) and `address` (of b)."""
import os
import shutil

import topology as net


class Ipsecbpf:
    name = "ipsecbpf"
    attach_options = ()

    def setup(self):
        a, b = self.hosts.a, self.hosts.b
        sas = self.hosts.write("sa.json", net.both_ways(a, b), mode=0o600)
        for host, other in ((a, b), (b, a)):
            policy = self.hosts.write(f"{host.name}.json", net.protect_all(other))
            host.ipsecbpf("attach", net.IFNAME, "--policy", policy, "--sa", sas, "--fresh",
                          *self.attach_options)

    def drops(self):
        total = {}
        for host in self.hosts.hosts:
            for reason, count in host.drops().items():
                total[reason] = total.get(reason, 0) + count
        return total


class WireguardGo:
    name = "wireguard-go"

    def setup(self):
        keys = {}
        for host in self.hosts.hosts:
            private = net.run_command(["wg", "genkey"]).stdout
            keys[host] = private, net.run_command(["wg", "pubkey"], input=private).stdout
        for number, host in enumerate(self.hosts.hosts, 1):
            other = self.hosts.hosts[number % 2]
            self._start(host, other, number, keys[host][0], keys[other][1])
        self.address = "10.9.1.2"

    def _start(self, host, other, number, private, public):
        # Interface names tell the control sockets under /var/run/wireguard apart.
        ifname = f"wg{os.getpid() % 1000000}{host.name}"
        configuration = self.hosts.write(f"{ifname}.conf", (
                f"[Interface]\nPrivateKey = {private.strip()}\nListenPort = 51820\n"
                f"[Peer]\nPublicKey = {public.strip()}\nAllowedIPs = 10.9.1.0/24\n"
                f"Endpoint = {other.address(4)}:51820\n"), mode=0o600)
        environment = dict(os.environ, WG_I_PREFER_BUGGY_USERSPACE_TO_POLISHED_KMOD="1",
                           LOG_LEVEL="error")
        host.spawn("wireguard-go", "-f", ifname, env=environment)
        net.wait_until(lambda: host.run("wg", "show", ifname, check=False).returncode == 0,
                       f"wireguard-go on host {host.name}")
        host.run("wg", "setconf", ifname, configuration)
        host.ip("addr", "add", f"10.9.1.{number}/24", "dev", ifname)
        host.ip("link", "set", ifname, "up")


def selected(arms):
    """Those that ARMS names, or all, without what is not installed."""
    wanted = os.environ.get("ARMS")
    chosen = [arm for arm in arms if not wanted or arm.name in wanted.split(",")]
    for arm in list(chosen):
        if issubclass(arm, WireguardGo) and not (shutil.which("wireguard-go") and shutil.which("wg")):
            print("bench: wireguard-go is not installed and left out (make deps installs it)", flush=True)
            chosen.remove(arm)
    return chosen
