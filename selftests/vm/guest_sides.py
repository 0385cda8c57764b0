# SPDX-License-Identifier: BSD-2-Clause
"""The two implementations of IPsec that meet in the guest: kernel XFRM and ipsecbpf."""

import itertools
import json
import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from guest_net import INNER, in_netns, ip_batch


@dataclass(frozen=True)
class Suite:
    """A suite's lengths in bytes and its names in XFRM."""
    key: int            # cipher key with salt
    cipher: str         # XFRM's AEAD or cipher
    mac_key: int = 0    # 0: the cipher is an AEAD
    mac: str = "hmac(sha256)"
    icv: int = 128      # bits


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
SUITES |= OTHERS
ND_TYPES = (135, 136)   # solicitation and advertisement: the only ones between two hosts
next_spi = itertools.count(0x1001)


@dataclass(frozen=True)
class Config:
    suite: str
    mode: str
    esn: bool
    inner: bool = False     # tunnel mode between other addresses than the hosts' own

    def __str__(self):
        mode = "networks" if self.inner else self.mode
        return f"{self.suite}-{mode}-{'esn' if self.esn else 'noesn'}"

    def endpoint(self, host):
        """The host, by the addresses that its protected traffic has."""
        return INNER[host] if self.inner else host


@dataclass(frozen=True)
class Sa:
    src: str
    dst: str
    spi: int
    key: bytes
    mac_key: bytes
    config: Config

    @staticmethod
    def make(src, dst, config):
        suite = SUITES[config.suite]
        return Sa(src, dst, next(next_spi), os.urandom(suite.key), os.urandom(suite.mac_key), config)


def sa_pairs(a, b, config):
    """A fresh SA for each direction and each IP version."""
    return [Sa.make(src.address(family), dst.address(family), config)
            for family in (4, 6) for src, dst in ((a, b), (b, a))]


class XfrmSide:
    """A host that uses the kernel's own IPsec."""

    def __init__(self, host, peer):
        self.host, self.peer = host, peer

    def start(self):
        pass

    def configure(self, config, sas):
        self.forget()
        ip_batch(self.host.name, [*(self.state(sa) for sa in sas), *self.policies(config)])

    def forget(self):
        ip_batch(self.host.name, ["xfrm policy flush", "xfrm state flush"])

    stop = forget

    @staticmethod
    def state(sa):
        suite, config = SUITES[sa.config.suite], sa.config
        if suite.mac_key:
            key = f"0x{sa.key.hex()}" if sa.key else '""'
            algo = (f"enc {suite.cipher} {key} "
                    f"auth-trunc {suite.mac} 0x{sa.mac_key.hex()} {suite.icv}")
        else:
            algo = f"aead {suite.cipher} 0x{sa.key.hex()} {suite.icv}"
        # Two busy virtual CPUs can put packets in another order than their sequence numbers'.
        window = f"replay-window 1024{' flag esn' if config.esn else ''}"
        return (f"xfrm state add src {sa.src} dst {sa.dst} proto esp spi {sa.spi:#x} reqid 1 "
                f"mode {config.mode} {window} {algo}")

    def policies(self, config):
        """Everything between the hosts is protected, except what finds the neighbour."""
        for family in (4, 6):
            for direction, src, dst in (("out", self.host, self.peer), ("in", self.peer, self.host)):
                inner = [config.endpoint(host).address(family) for host in (src, dst)]
                selector = f"src {inner[0]} dst {inner[1]}"
                yield (f"xfrm policy add {selector} dir {direction} priority 10 "
                       f"tmpl src {src.address(family)} dst {dst.address(family)} "
                       f"proto esp reqid 1 mode {config.mode}")
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

    def drops(self, reason):
        return json.loads(self.run("--json", "stats", self.host.dev))["dropped"][reason]

    def start(self):
        policy = self.write("start.json", self.policy(Config("aes128gcm16", "transport", True)))
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
        open_text = config.suite.startswith("null") or "gmac" in config.suite
        kind = "authentication" if open_text else "encryption"
        beyond = config.endpoint(self.peer)
        return {
            "version": 1,
            "bypass_essential": ["arp", "nd"],
            "defaults": {"in": "discard", "out": "discard", "non_ip": "discard"},
            "protections": {"guest": {"type": kind, "mode": config.mode, "suites": [config.suite],
                                      "allow_legacy": config.suite == "3des-md5"}},
            "peers": {"peer": {"addresses": [self.peer.v4, self.peer.v6]}},
            "rules": [{"name": "everything", "remote": [beyond.v4, beyond.v6],
                       "action": "protect", "peer": "peer", "protection": "guest"}],
        }

    @staticmethod
    def sa_file(sas):
        def entry(sa):
            result = {"src": sa.src, "dst": sa.dst, "spi": f"{sa.spi:#x}", "proto": "esp",
                      "mode": sa.config.mode, "suite": sa.config.suite,
                      "protection": "guest", "esn": sa.config.esn,
                      "allow_legacy": sa.config.suite == "3des-md5"}
            if sa.key:
                result["key"] = sa.key.hex()
            if sa.mac_key:
                result["auth_key"] = sa.mac_key.hex()
            return result

        return {"version": 1, "sas": [entry(sa) for sa in sas]}
