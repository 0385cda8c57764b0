# SPDX-License-Identifier: BSD-2-Clause
"""Policies and SA files of the tests, as Python objects that become JSON."""
import secrets

AEADS = {"chacha20poly1305": 36, "aes128gmac": 20, "aes192gmac": 28, "aes256gmac": 36,
         **{f"aes{bits}gcm{icv}": bits // 8 + 4 for icv in (16, 12, 8) for bits in (128, 192, 256)}}
CIPHERS = {"null": 0, "3des": 24, **{f"aes{bits}": bits // 8 for bits in (128, 192, 256)},
           **{f"aes{bits}ctr": bits // 8 + 4 for bits in (128, 192, 256)}}
MACS = {"sha256": 32, "sha384": 48, "sha512": 64, "sha1": 20, "aesxcbc": 16, "aescmac": 16, "md5": 16}
# Octets of cipher key with salt, and of MAC key.
KEY_OCTETS = {suite: (key, 0) for suite, key in AEADS.items()} | \
        {f"{cipher}-{mac}": (key, mac_key)
         for cipher, key in CIPHERS.items() for mac, mac_key in MACS.items()}
SUITES = list(KEY_OCTETS)
# AH's suites are named after their MAC alone.
KEY_OCTETS.update({mac: (0, mac_key) for mac, mac_key in MACS.items()})
# What two hosts without special wishes would take.
USUAL_SUITES = ["aes128gcm16", "aes192gcm16", "aes256gcm16", "chacha20poly1305", "aes128-sha256",
                "aes192-sha256", "aes256-sha256", "null-sha256"]
COUNTER_MODE = ["aes128gcm16", "chacha20poly1305", "aes256gmac", "aes128ctr-sha256"]


def is_legacy(suite):
    """Is the suite refused without allow_legacy?"""
    return suite.startswith("3des") or suite.endswith("md5")


def new_sa(src, dst, spi, suite="aes128gcm16", protection="wire", **more):
    """One SA for a file, with random keys."""
    key, mac = KEY_OCTETS[suite]
    sa = {"src": src, "dst": dst, "spi": spi, "proto": "esp", "suite": suite,
          "protection": protection, **more}
    if key:
        sa["key"] = secrets.token_hex(key)
    if mac:
        sa["auth_key"] = secrets.token_hex(mac)
    if is_legacy(suite):
        sa["allow_legacy"] = True
    return sa


def sa_file(*sas):
    return {"version": 1, "sas": list(sas)}


def both_ways(a, b, spi=0x1000, families=(4, 6), **more):
    """SAs in both directions and families between two hosts."""
    return sa_file(*[new_sa(x.address(family), y.address(family), spi + 16 * family + i, **more)
                     for family in families for i, (x, y) in enumerate(((a, b), (b, a)))])


def policy(rules, peers=None, protections=None, **more):
    """A policy document; everything that no rule names is discarded."""
    document = {"version": 1, "bypass_essential": ["arp", "nd", "dhcp", "ike"],
                "defaults": {"in": "discard", "out": "discard", "non_ip": "discard"}}
    document.update(more)
    if protections:
        document["protections"] = protections
    if peers:
        document["peers"] = {name: {"addresses": addresses}
                             for name, addresses in peers.items()}
    document["rules"] = rules
    return document


def protection_of(suite="aes128gcm16", mode="transport", **more):
    authenticates = suite.startswith("null") or "gmac" in suite or suite in MACS
    return {"type": "authentication" if authenticates else "encryption", "mode": mode,
            "suites": [suite], **({"protocol": "ah"} if suite in MACS else {}),
            **({"allow_legacy": True} if is_legacy(suite) else {}), **more}


def protect_all(peer, suite="aes128gcm16", mode="transport", **more):
    """Everything between this host and `peer` is protected, all else discarded."""
    rule = {"name": "everything", "action": "protect", "peer": "peer", "protection": "wire"}
    if mode == "tunnel":
        rule["remote"] = [peer.address(4), peer.address(6)]
    return policy([rule], {"peer": [peer.address(4), peer.address(6)]},
                  {"wire": protection_of(suite, mode)}, **more)
