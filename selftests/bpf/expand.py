#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Makes the fixtures plain: packets become hex, one case per truncation length, defaults spelt out.

    expand.py FIXTURE.json... > EXPANDED.json

A fixture file is one group: a policy, SAs and cases that share them (fixtures/README.md has the
keys). Packets are scapy expressions; the names below are what they may use besides scapy's own.
"""
import json
import os
import sys

from scapy.all import (ARP, Dot1AD, Dot1Q, Ether, GRE, ICMP, IP, IPOption, IPv6, Raw, SCTP, TCP, UDP,
                       ICMPv6DestUnreach, ICMPv6EchoRequest, ICMPv6ND_NS, ICMPv6ND_RA,
                       ICMPv6PacketTooBig, IPv6ExtHdrDestOpt, IPv6ExtHdrFragment,
                       ICMPv6MLDMultAddrRec, ICMPv6MLDone, ICMPv6MLQuery2, ICMPv6MLReport,
                       ICMPv6MLReport2, IPv6ExtHdrHopByHop, IPv6ExtHdrRouting, RouterAlert)
from scapy.layers.ipsec import AH, ESP
from scapy.layers.inet6 import PadN

N, P = "02:00:00:00:00:01", "02:00:00:00:00:02"    # the NIC's own address, the peer's
SECRET = "de:ad:be:ef:00:01"                       # run_fixtures puts the real one in its place
L4, R4, X4 = "10.9.0.1", "10.9.0.2", "10.9.0.3"    # local, remote, somebody else
L6, R6, X6 = "fd00:9::1", "fd00:9::2", "fd00:9::3"
rx, tx = Ether(dst=N, src=P), Ether(dst=P, src=N)
rx4, tx4 = rx / IP(src=R4, dst=L4), tx / IP(src=L4, dst=R4)
rx6, tx6 = rx / IPv6(src=R6, dst=L6), tx / IPv6(src=L6, dst=R6)


def tag(slot, gen, magic=0xa7):
    """The MAC address that is a host tag (bpf/abi.h)."""
    octets = bytes([magic, gen]) + slot.to_bytes(4, "big")
    return ":".join(f"{octet:02x}" for octet in octets)


def host(slot, gen, magic=0xa7):
    """Link header of a frame that the worker writes to the host port."""
    return Ether(dst=tag(slot, gen, magic), src=P)


def too_big(quoted, sender="10.9.0.254", to=L4, kind=3, code=4):
    """ICMP "fragmentation needed" from a router about the packet or octets."""
    return rx / IP(src=sender, dst=to) / ICMP(type=kind, code=code, nexthopmtu=1400) / Raw(bytes(quoted))


def too_big6(quoted, sender="fd00:9::fe", to=L6, error=None):
    """ICMPv6 "packet too big", or another error."""
    error = ICMPv6PacketTooBig(mtu=1400) if error is None else error
    return rx / IPv6(src=sender, dst=to) / error / Raw(bytes(quoted))


def packet(expression):
    return bytes(eval(expression, globals()))   # test data, as trusted as this file


def with_address(data, offset, address):
    return data[:offset] + bytes.fromhex(address.replace(":", "")) + data[offset + 6:]


def output(fixture, data):
    """The packet expected out: unchanged, an expression, or with one MAC address replaced."""
    if "out" in fixture:
        return packet(fixture["out"])
    if "out_tag" in fixture:
        return with_address(data, 6, tag(*fixture["out_tag"]))
    if "out_dst" in fixture:
        return with_address(data, 0, globals().get(fixture["out_dst"], fixture["out_dst"]))
    return data


def least_length(hook, data):
    """What a test run wants: a MAC header; of an skb whose ethertype is IP, that header too."""
    return 14 if hook == "xdp" else {b"\x08\x00": 34, b"\x86\xdd": 54}.get(data[12:14], 14)


def plain(group, fixture):
    fixture = {**group.get("with", {}), **fixture}
    case = {key: value for key, value in fixture.items()
            if key not in ("packet", "out", "out_tag", "out_dst", "headers", "short", "about")}
    for key, value in case.items():
        if isinstance(value, str) and value.startswith("0x"):
            case[key] = int(value, 16)
    case.setdefault("verdict", "drop" if "reason" in case else "pass")
    data = packet(fixture["packet"])
    case["in"] = data.hex()
    if case["verdict"] != "drop":
        case["out"] = output(fixture, data).hex()
    yield case
    # Cut anywhere within its headers, the packet is malformed.
    for length in range(least_length(case["hook"], data), fixture.get("headers", 0)):
        yield {**case, "name": f"{case['name']}, cut to {length} octets", "in": data[:length].hex(),
               "out": data[:length].hex(), "verdict": "drop", "reason": "malformed",
               "counter": None, "rule": 0xffffffff, "watch": None}
    # Cut where what follows the headers says whose it is, it is another packet, but not malformed.
    short = {"octets": [0, 0], "reason": None, "counter": None, "watch": None,
             **fixture.get("short", {})}
    for length in range(*short.pop("octets")):
        yield {**case, "name": f"{case['name']}, cut to {length} octets", "in": data[:length].hex(),
               "out": data[:length].hex(), "verdict": "drop" if short["reason"] else "pass", **short}
    if "headers" in fixture:
        least = data[:fixture["headers"]].hex()
        yield {**case, "name": f"{case['name']}, headers alone", "in": least, "out": least}


def numbers(value):
    """Hexadecimal strings become numbers, anywhere."""
    if isinstance(value, dict):
        return {key: numbers(item) for key, item in value.items()}
    if isinstance(value, list):
        return [numbers(item) for item in value]
    return int(value, 16) if isinstance(value, str) and value.startswith("0x") else value


def expand(path, policies):
    with open(path) as file:
        group = json.load(file)
    group["group"] = os.path.basename(path).removesuffix(".json")
    group["policies"] = {**policies, **group.get("policies", {})}
    group["cases"] = [{key: value for key, value in case.items() if value is not None}
                      for fixture in group["cases"] for case in plain(group, fixture)]
    group["sas"] = numbers(group.get("sas", []))
    for key in ("mark_value", "mark_mask"):
        if key in group:
            group[key] = int(group[key], 16)
    return group


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "policies.json")) as file:
        policies = json.load(file)
    json.dump([expand(path, policies) for path in sys.argv[1:]], sys.stdout)


if __name__ == "__main__":
    main()
