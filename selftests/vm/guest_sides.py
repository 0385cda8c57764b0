# SPDX-License-Identifier: BSD-2-Clause
"""The two implementations of IPsec that meet in the guest: kernel XFRM and ipsecbpf."""

import itertools
import json
import os
import re
import socket
import struct
import subprocess
from dataclasses import dataclass
from pathlib import Path

from guest_net import INNER, in_netns, ip_batch, make_socket


@dataclass(frozen=True)
class Suite:
    """A suite's lengths in bytes and its names in XFRM."""
    key: int            # cipher key with salt
    cipher: str         # XFRM's AEAD or cipher
    mac_key: int = 0    # 0: the cipher is an AEAD
    mac: str = "hmac(sha256)"
    icv: int = 128      # bits


AH = {
    "sha256": Suite(0, "", 32),
    "sha1": Suite(0, "", 20, "hmac(sha1)", 96),
    "sha384": Suite(0, "", 48, "hmac(sha384)", 192),
    "sha512": Suite(0, "", 64, "hmac(sha512)", 256),
    "aesxcbc": Suite(0, "", 16, "xcbc(aes)", 96),
    "aescmac": Suite(0, "", 16, "cmac(aes)", 96),
    "md5": Suite(0, "", 16, "hmac(md5)", 96),
}
SUITES = {
    "aes128gcm16": Suite(20, "rfc4106(gcm(aes))"),
    "aes256gcm16": Suite(36, "rfc4106(gcm(aes))"),
    "chacha20poly1305": Suite(36, "rfc7539esp(chacha20,poly1305)"),
    "aes128-sha256": Suite(16, "cbc(aes)", 32),
    "null-sha256": Suite(0, "ecb(cipher_null)", 32),
}
# Each further cipher and each further MAC, in one mode, with or without ESN.
OTHERS = {
    "aes192gcm12": Suite(28, "rfc4106(gcm(aes))", icv=96),
    "aes256gcm8": Suite(36, "rfc4106(gcm(aes))", icv=64),
    "aes128gmac": Suite(20, "rfc4543(gcm(aes))"),
    "aes256gmac": Suite(36, "rfc4543(gcm(aes))"),
    "aes128ctr-sha1": Suite(20, "rfc3686(ctr(aes))", 20, "hmac(sha1)", 96),
    "aes256ctr-sha384": Suite(36, "rfc3686(ctr(aes))", 48, "hmac(sha384)", 192),
    "aes192-sha512": Suite(24, "cbc(aes)", 64, "hmac(sha512)", 256),
    "aes256-aesxcbc": Suite(32, "cbc(aes)", 16, "xcbc(aes)", 96),
    "null-aesxcbc": Suite(0, "ecb(cipher_null)", 16, "xcbc(aes)", 96),
    "null-aescmac": Suite(0, "ecb(cipher_null)", 16, "cmac(aes)", 96),
    "aes192ctr-aescmac": Suite(28, "rfc3686(ctr(aes))", 16, "cmac(aes)", 96),
    "3des-md5": Suite(24, "cbc(des3_ede)", 16, "hmac(md5)", 96),
}
USUAL = list(SUITES)
SUITES |= OTHERS | AH
ND_TYPES = (135, 136)   # solicitation and advertisement: the only ones between two hosts
IP_XFRM_POLICY = 17
IPV6_XFRM_POLICY = 35
XFRM_POLICY_IN, XFRM_POLICY_OUT = range(2)
UDP_ENCAP = 100
UDP_ENCAP_ESPINUDP = 2
next_spi = itertools.count(0x1001)


@dataclass(frozen=True)
class Layer:
    """One SA, with those for the other direction and IP version: a policy's protection."""
    suite: str
    mode: str
    ports: tuple = ()       # UDP ports of host A and host B around ESP
    padded: bool = False    # XFRM pads AH in IPv4 to 8 octets, as it does unless told to align to 4

    @property
    def proto(self):
        return "ah" if self.suite in AH else "esp"

    @property
    def legacy(self):
        return "md5" in self.suite or "3des" in self.suite

    def __str__(self):
        proto = "UDP" if self.ports else self.proto.upper()
        return f"{proto} {self.mode}"


@dataclass(frozen=True)
class Config:
    """How two hosts protect all that is between them."""
    layers: tuple           # inside out
    esn: bool
    inner: bool = False     # tunnel mode between other addresses than the hosts' own
    outer: int = 0          # IP version of the tunnel: it carries the other one. 0: each its own

    @staticmethod
    def esp(suite, mode, esn, inner=False):
        return Config((Layer(suite, mode),), esn, inner)

    @property
    def families(self):
        """IP versions of the traffic."""
        return (10 - self.outer,) if self.outer else (4, 6)

    def outer_family(self, family):
        return self.outer or family

    @property
    def suite(self):
        return "+".join(layer.suite for layer in self.layers)

    @property
    def mode(self):
        """As the peer table names it."""
        if self.inner:
            return f"{self.layers[0]}, networks"
        crossed = f", {10 - self.outer} in {self.outer}" if self.outer else ""
        return " in ".join(map(str, self.layers)) + crossed

    def __str__(self):
        last = self.layers[-1]
        if len(self.layers) == 1 and last.proto == "esp" and not last.ports and not self.outer:
            mode = "networks" if self.inner else last.mode
        else:
            mode = self.mode.lower().replace(", ", "-").replace(" ", "-")
        ports = "-ports" if last.ports and len(set(last.ports)) > 1 else ""
        padded = "-padded" if last.padded else ""
        return f"{self.suite}-{mode}{ports}{padded}-{'esn' if self.esn else 'noesn'}"

    def endpoint(self, host):
        """The host, by the addresses that its protected traffic has."""
        return INNER[host] if self.inner else host


@dataclass(frozen=True)
class Sa:
    src: str
    dst: str
    family: int         # of these
    spi: int
    key: bytes
    mac_key: bytes
    layer: Layer
    number: int         # of the layer
    esn: bool
    ports: tuple        # UDP, source and destination


def sa_pairs(a, b, config):
    """A fresh SA for each layer, each direction and each IP version, the outermost ones last."""
    return [Sa(src.address(family), dst.address(family), family, next(next_spi),
               os.urandom(SUITES[layer.suite].key), os.urandom(SUITES[layer.suite].mac_key),
               layer, number, config.esn, layer.ports if src is a else layer.ports[::-1])
            for number, layer in enumerate(config.layers)
            for family in map(config.outer_family, config.families)
            for src, dst in ((a, b), (b, a))]


class XfrmSide:
    """A host that uses the kernel's own IPsec."""

    def __init__(self, host, peer):
        self.host, self.peer = host, peer
        self.udp = []       # sockets that take ESP out of UDP

    def start(self):
        pass

    def configure(self, config, sas):
        self.forget()
        to_us = [sa for sa in sas if sa.ports and sa.dst == self.host.address(sa.family)]
        ip_batch(self.host.name, [*(self.state(sa) for sa in sas), *self.policies(config)])
        self.udp = [self.espinudp(sa.family, sa.ports[1]) for sa in to_us]

    def forget(self):
        ip_batch(self.host.name, ["xfrm policy flush", "xfrm state flush"])
        for sock in self.udp:
            sock.close()
        self.udp = []

    stop = forget

    def espinudp(self, family, port):
        """The socket of an IKE daemon: XFRM takes ESP from its port, and what comes in UDP there must
        not have been protected already."""
        sock = make_socket(self.host, family, socket.SOCK_DGRAM, bind_port=port)
        level, name = ((socket.IPPROTO_IP, IP_XFRM_POLICY) if family == 4 else
                       (socket.IPPROTO_IPV6, IPV6_XFRM_POLICY))
        # struct xfrm_userpolicy_info: any selector of the family, action "allow".
        for direction in (XFRM_POLICY_IN, XFRM_POLICY_OUT):
            sock.setsockopt(level, name, struct.pack("=40xH118xB7x", sock.family, direction))
        sock.setsockopt(socket.IPPROTO_UDP, UDP_ENCAP, UDP_ENCAP_ESPINUDP)
        return sock

    @staticmethod
    def state(sa):
        suite, layer = SUITES[sa.layer.suite], sa.layer
        auth = f"auth-trunc {suite.mac} 0x{sa.mac_key.hex()} {suite.icv}"
        if layer.proto == "ah":
            algo = auth
        elif suite.mac_key:
            algo = f"enc {suite.cipher} " + (f"0x{sa.key.hex()}" if sa.key else '""') + " " + auth
        else:
            algo = f"aead {suite.cipher} 0x{sa.key.hex()} {suite.icv}"
        flags = ["esn"] if sa.esn else []
        if layer.mode == "tunnel":
            flags.append("af-unspec")   # either IP version inside
        if layer.proto == "ah" and sa.family == 4 and not layer.padded:
            flags.append("align4")
        # Two busy virtual CPUs can put packets in another order than their sequence numbers'.
        options = "replay-window 1024" + (f" flag {' '.join(flags)}" if flags else "")
        any_address = "0.0.0.0" if sa.family == 4 else "::"
        encap = f" encap espinudp {sa.ports[0]} {sa.ports[1]} {any_address}" if sa.ports else ""
        return (f"xfrm state add src {sa.src} dst {sa.dst} proto {layer.proto} spi {sa.spi:#x} "
                f"reqid {sa.number + 1} mode {layer.mode} {options} {algo}{encap}")

    def policies(self, config):
        """Everything between the hosts is protected, except what finds the neighbour."""
        for family in config.families:
            outer = config.outer_family(family)
            for direction, src, dst in (("out", self.host, self.peer), ("in", self.peer, self.host)):
                inner = [config.endpoint(host).address(family) for host in (src, dst)]
                selector = f"src {inner[0]} dst {inner[1]}"
                templates = [f"tmpl src {src.address(outer)} dst {dst.address(outer)} "
                             f"proto {layer.proto} reqid {number} mode {layer.mode}"
                             for number, layer in enumerate(config.layers, 1)]
                yield f"xfrm policy add {selector} dir {direction} priority 10 {' '.join(templates)}"
                if family == 6:
                    yield from (f"xfrm policy add {selector} proto ipv6-icmp type {kind} "
                                f"dir {direction} priority 1" for kind in ND_TYPES)

    def errors(self):
        """The error counters that are not 0."""
        with in_netns(self.host.name):
            lines = Path("/proc/thread-self/net/xfrm_stat").read_text().split("\n")
        counters = (line.split() for line in lines if line)
        return {name: int(value) for name, value in counters if int(value)}

    def packets(self):
        """SPI: (packets, failures: replayed, or refused by authentication)."""
        text = ip_batch(self.host.name, ["xfrm state"], "-s")
        result = {}
        for block in re.split(r"^src ", text, flags=re.M)[1:]:
            spi = int(re.search(r"spi (0x[0-9a-f]+)", block)[1], 16)
            packets = int(re.search(r"lifetime current:\s+\d+\(bytes\), (\d+)\(packets\)", block)[1])
            stats = re.search(r"replay-window (\d+) replay (\d+) failed (\d+)", block)
            result[spi] = (packets, int(stats[2]) + int(stats[3]))
        return result


class IpsecbpfSide:
    """A host that uses ipsecbpf, through its command line alone."""

    def __init__(self, host, peer, program, directory):
        self.host, self.peer, self.program = host, peer, program
        self.directory = Path(directory)
        self.attached = False

    def run(self, *args):
        with in_netns(self.host.name):
            result = subprocess.run([self.program, *args], capture_output=True, text=True,
                                    stdin=subprocess.DEVNULL)
        if result.returncode:
            raise RuntimeError(f"ipsecbpf {' '.join(map(str, args))}: exit {result.returncode}\n"
                               f"{result.stdout}{result.stderr}")
        return result.stdout

    def status(self):
        return json.loads(self.run("--json", "status", self.host.dev))["attachments"][0]

    def preflight(self):
        """The checks; exit code 1 where one of them is a failure."""
        with in_netns(self.host.name):
            result = subprocess.run([self.program, "--json", "preflight", self.host.dev],
                                    capture_output=True, text=True, check=False)
        return json.loads(result.stdout)["checks"]

    def drops(self, reason):
        return json.loads(self.run("--json", "stats", self.host.dev))["dropped"][reason]

    def errors(self):
        """The drop counters that are not 0."""
        dropped = json.loads(self.run("--json", "stats", self.host.dev))["dropped"]
        return {reason: count for reason, count in dropped.items() if count}

    def sas(self):
        """SPI: what `sa list` says."""
        listed = json.loads(self.run("--json", "sa", "list", self.host.dev))["sas"]
        return {int(str(sa["spi"]), 0): sa for sa in listed}

    def packets(self):
        """As XfrmSide's."""
        return {spi: (sa["packets"], sa["replayed"] + sa["icv_failed"])
                for spi, sa in self.sas().items()}

    def start(self):
        policy = self.write("start.json", self.policy(Config.esp("aes128gcm16", "transport", True)))
        self.run("attach", self.host.dev, "--policy", policy, "--xdp", "native")
        self.attached = True

    def configure(self, config, sas):
        self.forget()
        self.run("policy", "apply", self.host.dev, self.write("policy.json", self.policy(config)))
        self.run("sa", "apply", self.host.dev, self.write("sa.json", self.sa_file(sas)), "--fresh")

    def forget(self):
        self.run("sa", "flush", self.host.dev)

    def stop(self):
        if self.attached:
            self.run("detach", self.host.dev, "--open")
            self.attached = False

    def write(self, name, value):
        path = self.directory / name
        path.touch(mode=0o600)
        path.write_text(json.dumps(value, indent=1))
        return path

    def policy(self, config):
        """Everything between the hosts is protected, and there is nothing else."""
        beyond = config.endpoint(self.peer)
        protections = {f"layer{number}": self.protection(layer)
                       for number, layer in enumerate(config.layers)}
        for number in range(1, len(config.layers)):
            protections[f"layer{number - 1}"]["within"] = f"layer{number}"
        return {
            "version": 1,
            "bypass_essential": ["arp", "nd"],
            "defaults": {"in": "discard", "out": "discard", "non_ip": "discard"},
            "protections": protections,
            "peers": {"peer": {"addresses": [self.peer.v4, self.peer.v6]}},
            "rules": [{"name": "everything", "remote": [beyond.address(f) for f in config.families],
                       "action": "protect", "peer": "peer", "protection": "layer0"}],
        }

    @staticmethod
    def protection(layer):
        open_text = layer.proto == "ah" or layer.suite.startswith("null") or "gmac" in layer.suite
        return {"type": "authentication" if open_text else "encryption", "protocol": layer.proto,
                "mode": layer.mode, "suites": [layer.suite], "allow_legacy": layer.legacy}

    @staticmethod
    def sa_file(sas):
        def entry(sa):
            layer = sa.layer
            result = {"src": sa.src, "dst": sa.dst, "spi": f"{sa.spi:#x}", "proto": layer.proto,
                      "mode": layer.mode, "suite": layer.suite, "protection": f"layer{sa.number}",
                      "esn": sa.esn, "allow_legacy": layer.legacy}
            if sa.ports:
                result["encap"] = {"sport": sa.ports[0], "dport": sa.ports[1]}
            if sa.key:
                result["key"] = sa.key.hex()
            if sa.mac_key:
                result["auth_key"] = sa.mac_key.hex()
            return result

        return {"version": 1, "sas": [entry(sa) for sa in sas]}
