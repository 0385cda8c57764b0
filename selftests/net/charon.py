# SPDX-License-Identifier: BSD-2-Clause
"""strongSwan on hosts of a topology: IKE between them, and libipsec, its own ESP in user space.

libipsec does ESP in UDP, tunnel mode, through a TUN device; no kernel IPsec takes part. A daemon runs
in its host's namespaces only, with its files and socket in the directory of the run, so that neither
two daemons nor the machine's own meet. It ends with the topology.
"""
import os
import re
import shutil
import subprocess

from wire import Failure, netns_path, wait_until

PROGRAMS = {"charon": "/usr/sbin/charon-systemd", "swanctl": "/usr/sbin/swanctl"}
PLUGIN = "/usr/lib/ipsec/plugins/libstrongswan-%s.so"
# kernel-libipsec before kernel-netlink: the first one that does ESP is asked to do it.
PLUGINS = ["random", "nonce", "openssl", "xcbc", "kdf", "kernel-libipsec", "kernel-netlink",
           "socket-default", "vici"]

HEX_LINES = r"((?:.*\[CHD\] +\d+: .*\n)+)"


def missing():
    """The files that are not there; none if strongSwan can run."""
    needed = [*PROGRAMS.values(), "/dev/net/tun", *(PLUGIN % name for name in PLUGINS)]
    return [path for path in needed if not os.path.exists(path)]


def section(name, content, indent=""):
    """A section of strongswan.conf or swanctl.conf, from nested dicts."""
    lines = [section(key, value, indent + "\t") if isinstance(value, dict) else
             f"{indent}\t{key} = {value}\n" for key, value in content.items()]
    return f"{indent}{name} {{\n{''.join(lines)}{indent}}}\n"


class ChildSa:
    """What IKE has agreed on, as the initiator logs it: SPIs and keys by direction "in", "out"."""

    def __init__(self, log):
        self.spi, self.key, self.auth_key = {}, {}, {}
        for direction, spi in re.findall(r"adding (\w+)bound ESP SA\n.*SPI (0x[0-9a-f]+)", log):
            self.spi[direction] = spi
        for what, side, octets, lines in re.findall(
                r"(encryption|integrity) (initiator|responder) key => (\d+) bytes.*\n" + HEX_LINES,
                log):
            key = "".join(re.findall(r": ((?:[0-9A-F]{2} )+)", lines)).replace(" ", "").lower()
            if len(key) != 2 * int(octets):
                raise Failure(f"charon's log: {what} key of {octets} octets cut short")
            keys = self.key if what == "encryption" else self.auth_key
            keys["out" if side == "initiator" else "in"] = key
        if set(self.spi) != {"in", "out"}:
            raise Failure("charon's log: no CHILD_SA in " + log)

    def sa(self, direction, src, dst, **more):
        """One SA of an SA file. libipsec has no extended sequence numbers."""
        keys = {"key": self.key.get(direction), "auth_key": self.auth_key.get(direction)}
        return {"src": src, "dst": dst, "spi": self.spi[direction], "mode": "tunnel", "esn": False,
                **{name: key for name, key in keys.items() if key}, **more}


class Charon:
    """The daemon of one host. connections: of swanctl.conf, a dict."""

    def __init__(self, host, connections, secret):
        self.host = host
        self.topology = host.topology
        self.log = self.topology.path(f"charon-{host.name}.log")
        self.socket = self.topology.path(f"vici-{host.name}")
        self.settings = self.topology.write(f"strongswan-{host.name}.conf", self._settings())
        self._start()
        config = section("connections", connections) + section("secrets", {"ike": {"secret": secret}})
        self.swanctl("--load-all", "--file",
                     self.topology.write(f"swanctl-{host.name}.conf", config, mode=0o600))

    def _settings(self):
        # chd at 4 logs the keys of CHILD_SAs.
        log = {"path": self.log, "default": 1, "chd": 4, "append": "no", "flush_line": "yes"}
        return section("charon", {"load": " ".join(PLUGINS), "filelog": {"file": log},
                                  "plugins": {"vici": {"socket": f"unix://{self.socket}"}}}) + \
            section("charon-systemd", {"journal": {"default": -1}})

    def _command(self, name):
        """Runs a copy: AppArmor, where it is on, ties the installed programs to files in /etc."""
        copy = self.topology.path(name)
        if not os.path.exists(copy):
            shutil.copy(PROGRAMS[name], copy)
        return ["env", f"STRONGSWAN_CONF={self.settings}", copy]

    def _start(self):
        if os.stat(netns_path(self.host.netns)).st_ino == os.stat("/proc/self/ns/net").st_ino:
            raise Failure("charon must not run outside the hosts of a topology")
        self.process = self.host.spawn(*self._command("charon"), stdout=subprocess.DEVNULL)
        wait_until(self._listens, f"charon of host {self.host.name} listens")

    def _listens(self):
        if self.process.poll() is not None:
            raise Failure(f"charon of host {self.host.name} has ended: {self.logged()[-2000:]}")
        return os.path.exists(self.socket)

    def logged(self, start=0):
        if not os.path.exists(self.log):
            return ""
        with open(self.log, errors="replace") as file:
            file.seek(start)
            return file.read()

    def swanctl(self, *argv):
        return self.host.run(*self._command("swanctl"), *argv, "--uri", f"unix://{self.socket}").stdout

    def initiate(self, child):
        """Negotiates a CHILD_SA, and the IKE SA before it if there is none yet."""
        return self._negotiate("--initiate", "--child", child, "--timeout", 5)

    def rekey(self, child):
        """New keys for a CHILD_SA, by IKE."""
        return self._negotiate("--rekey", "--child", child)

    def _negotiate(self, *argv):
        start = os.path.getsize(self.log)
        self.swanctl(*argv)
        wait_until(lambda: "INSTALLING => INSTALLED" in self.logged(start), "CHILD_SA is installed")
        return ChildSa(self.logged(start))

    def terminate(self, child):
        self.swanctl("--terminate", "--child", child, "--timeout", 5)

    def counters(self):
        """(packets in, packets out) of the one CHILD_SA that is installed."""
        found = re.findall(r"state=INSTALLED .*?packets-in=(\d+) .*?packets-out=(\d+) ",
                           self.swanctl("--list-sas", "--raw"))
        if len(found) != 1:
            raise Failure(f"host {self.host.name}: {len(found)} CHILD_SAs instead of one")
        return tuple(map(int, found[0]))
