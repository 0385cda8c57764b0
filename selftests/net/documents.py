# SPDX-License-Identifier: BSD-2-Clause
"""Policies and SA files of the tests, as Python objects that become JSON."""
import secrets

# Octets of cipher key with salt, and of MAC key.
KEY_OCTETS = {
        "aes128gcm16": (20, 0), "aes192gcm16": (28, 0), "aes256gcm16": (36, 0),
        "chacha20poly1305": (36, 0),
        "aes128-sha256": (16, 32), "aes192-sha256": (24, 32), "aes256-sha256": (32, 32),
        "null-sha256": (0, 32),
}
SUITES = list(KEY_OCTETS)
COUNTER_MODE = SUITES[:4]


def new_sa(src, dst, spi, suite="aes128gcm16", protection="wire", **more):
    """One SA for a file, with random keys."""
    key, mac = KEY_OCTETS[suite]
    sa = {"src": src, "dst": dst, "spi": spi, "proto": "esp", "suite": suite,
          "protection": protection, **more}
    if key:
        sa["key"] = secrets.token_hex(key)
    if mac:
        sa["auth_key"] = secrets.token_hex(mac)
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


def protection_of(suite="aes128gcm16", mode="transport"):
    kind_ = "authentication" if suite.startswith("null") else "encryption"
    return {"type": kind_, "mode": mode, "suites": [suite]}


def protect_all(peer, suite="aes128gcm16", mode="transport", **more):
    """Everything between this host and `peer` is protected, all else discarded."""
    rule = {"name": "everything", "action": "protect", "peer": "peer", "protection": "wire"}
    if mode == "tunnel":
        rule["remote"] = [peer.address(4), peer.address(6)]
    return policy([rule], {"peer": [peer.address(4), peer.address(6)]},
                  {"wire": protection_of(suite, mode)}, **more)
