#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Writes ah_scapy.h: AH packets as scapy's IPsec layer, an independent implementation, makes them.

    /usr/bin/python3 ah_scapy.py > ah_scapy.h
"""

import struct

import scapy
from scapy.layers.inet import IP, UDP, IPOption, IPOption_RR, IPOption_Router_Alert
from scapy.layers.inet6 import (HBHOptUnknown, IPv6, IPv6ExtHdrDestOpt, IPv6ExtHdrHopByHop,
                                IPv6ExtHdrRouting, PadN, RouterAlert)
from scapy.layers.ipsec import AH, SecurityAssociation
from scapy.packet import Raw

# name of ours: scapy's, octets of key. It has no AES-XCBC.
SUITES = {
    "md5": ("HMAC-MD5-96", 16),
    "sha1": ("HMAC-SHA1-96", 20),
    "sha256": ("SHA2-256-128", 32),
    "sha384": ("SHA2-384-192", 48),
    "sha512": ("SHA2-512-256", 64),
    "aescmac": ("AES-CMAC-96", 16),
}

SRC4, DST4, SRC6, DST6 = "10.9.0.1", "10.9.0.2", "fd09::1", "fd09::2"
UPPER = UDP(sport=1000, dport=2000) / Raw(bytes(range(37)))


def ipv4(options=()):
    return IP(src=SRC4, dst=DST4, tos=0xb9, id=0x1234, flags="DF", ttl=63,
              options=list(options))


def ipv6():
    return IPv6(src=SRC6, dst=DST6, tc=0xb9, fl=0x12345, hlim=63)


def packets():
    """(name, clear packet) of transport mode."""
    yield "plain", ipv4() / UPPER
    yield "options", ipv4([
        IPOption_Router_Alert(),
        IPOption_RR(length=11, pointer=8, routers=["10.1.1.1", "0.0.0.0"]),
        IPOption(b"\x01"),
        IPOption(b"\x44\x0c\x09\x01" + struct.pack("!II", 1000, 0)),
        IPOption(b"\x86\x06\x00\x00\x00\x01"),
        IPOption(b"\x00"),
    ]) / UPPER
    yield "plain", ipv6() / UPPER
    yield "hop-by-hop", ipv6() / IPv6ExtHdrHopByHop(options=[
        RouterAlert(value=0), HBHOptUnknown(otype=0x3e, optdata=b"\x01\x02\x03"),
        HBHOptUnknown(otype=0x1e, optdata=b"\x04\x05"), PadN(optdata=b"")]) / UPPER
    yield "destination, routing", ipv6() / IPv6ExtHdrDestOpt(options=[
        HBHOptUnknown(otype=0x3f, optdata=b"\xff" * 5)]) / IPv6ExtHdrRouting(
            addresses=[], segleft=0) / UPPER


def outer(version, clear, seq):
    """The header that ours writes in tunnel mode."""
    tos = clear.tos if clear.version == 4 else clear.tc
    if version == 4:
        return IP(src=SRC4, dst=DST4, tos=tos, id=seq & 0xffff, flags="DF", ttl=64)
    return IPv6(src=SRC6, dst=DST6, tc=tos, fl=clear.fl if clear.version == 6 else 0, hlim=64)


def protect(suite, clear, version, seq, esn):
    """`version`: of the outer header, None in transport mode."""
    name, key_len = SUITES[suite]
    sa = SecurityAssociation(AH, spi=0x1001, auth_algo=name,
                             auth_key=bytes((i * 5 + 2) & 0xff for i in range(key_len)),
                             tunnel_header=version and outer(version, clear, seq))
    return sa.encrypt(clear.copy(), seq_num=seq & 0xffffffff, esn_en=esn, esn=seq >> 32)


def hex_lines(data):
    text = bytes(data).hex()
    return "\n".join('\t  "%s"' % text[i:i + 80] for i in range(0, len(text), 80))


def vectors():
    """All packets with one suite, plain ones with every suite; tunnels of each."""
    for name, clear in packets():
        clear = clear.__class__(bytes(clear))
        for suite in SUITES:
            if name != "plain" and suite != "sha256":
                continue
            for version in (None, 4, 6):
                for esn, seq in ((False, 0x4321), (True, 0x7700000123)):
                    if version and esn:
                        continue
                    yield (name, suite, version, esn, seq, clear,
                           protect(suite, clear, version, seq, esn))


def main():
    print("""/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * AH packets, made by scapy %s (scapy.layers.ipsec) with ah_scapy.py. SPI 0x1001; octet i of the
 * key is 5 * i + 2. Included by: test_ah_vectors.c.
 */
#ifndef SELFTESTS_VECTORS_AH_SCAPY_H
#define SELFTESTS_VECTORS_AH_SCAPY_H

/* clang-format off */
static const struct ah_vector ah_scapy_vectors[] = {""" % scapy.__version__)
    for name, suite, version, esn, seq, clear, protected in vectors():
        print('\t{ "IPv%d %s%s", "%s", %s, %s, %s, %#x,\n%s,\n%s },' % (
            clear.version, name, " in IPv%d" % version if version else "", suite,
            "FAMILY_V%d" % (version or clear.version), "true" if version else "false",
            "true" if esn else "false", seq, hex_lines(clear), hex_lines(protected)))
    print("""};
/* clang-format on */

#endif /* SELFTESTS_VECTORS_AH_SCAPY_H */""")


if __name__ == "__main__":
    main()
