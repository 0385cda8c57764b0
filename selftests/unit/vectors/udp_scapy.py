#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""Makes udp_scapy.h: ESP in UDP as scapy's IPsec layer makes it, for test_udp_encap.c.

/usr/bin/python3 selftests/unit/vectors/udp_scapy.py > selftests/unit/vectors/udp_scapy.h
"""
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[2] / "net"))
# pylint: disable=wrong-import-position
from esp_peer import ESP, IP, UDP, IPv6, Raw, SecurityAssociation, algorithms_of, raw, wrap
from scapy.layers.inet6 import IPv6ExtHdrHopByHop
from scapy.layers.ipsec import CRYPT_ALGOS

SPI, SPORT, DPORT = 0x1001, 4500, 61234
# suite, octets of cipher key and salt, of MAC key; esp_pair.h has the keys' octets
SUITES = (("aes128gcm16", 20, 0), ("chacha20poly1305", 36, 0), ("null-sha256", 0, 32),
          ("aes256-sha256", 32, 32))


def clear(v6, options):
    """The packet to protect."""
    ip = IP(src="10.9.0.1", dst="10.9.0.2", tos=0xb9, id=0x1234, flags="DF", ttl=63)
    if v6:
        ip = IPv6(src="fd09::1", dst="fd09::2", tc=0xb9, fl=0x12345, hlim=63)
        if options:
            ip /= IPv6ExtHdrHopByHop(options=[])
    return ip / UDP(sport=7, dport=9) / Raw(b"what an eavesdropper would like")


def outer(v6, inner_v6, seq):
    """The tunnel's header, as RFC 4301 5.1.2 makes it of clear()'s."""
    if v6:
        return IPv6(src="fd09::1", dst="fd09::2", tc=0xb9, fl=0x12345 if inner_v6 else 0, hlim=64)
    return IP(src="10.9.0.1", dst="10.9.0.2", tos=0xb9, id=seq, flags="DF", ttl=64)


def seal(suite, key_len, mac_len, inner, header, seq):
    """The packet on the wire."""
    # pylint: disable=too-many-arguments
    cipher, mac = algorithms_of(suite)
    algo = CRYPT_ALGOS[cipher]
    association = SecurityAssociation(
            ESP, spi=SPI, crypt_algo=cipher,
            crypt_key=bytes(i * 3 + 1 & 255 for i in range(key_len)) or None,
            auth_algo=mac, auth_key=bytes(i * 5 + 2 & 255 for i in range(mac_len)) or None,
            tunnel_header=header)
    iv = seq.to_bytes(8, "big") if algo.iv_size == 8 else bytes(range(seq, seq + algo.iv_size))
    return raw(wrap(association.encrypt(inner.__class__(raw(inner)), seq_num=seq, iv=iv), SPORT, DPORT))


def main():
    """Prints the header file."""
    print("/* SPDX-License-Identifier: BSD-2-Clause */\n"
          "/* ESP in UDP, made by scapy: see udp_scapy.py. Included by: test_udp_encap.c. */\n"
          "#ifndef SELFTESTS_VECTORS_UDP_SCAPY_H\n#define SELFTESTS_VECTORS_UDP_SCAPY_H\n\n"
          "/* clang-format off */\n"
          "static const struct udp_vector {\n"
          "\tconst char *suite;\n\tuint8_t outer, inner;\t/* enum ip_family */\n"
          "\tbool tunnel;\n\tuint32_t seq;\n\tconst char *clear, *wire;\t/* IP packets, hex */\n"
          "} udp_vectors[] = {")
    seq = 1
    for suite, key_len, mac_len in SUITES:
        for v6, inner_v6, tunnel in ((0, 0, 0), (1, 1, 0), (0, 0, 1), (0, 1, 1), (1, 0, 1),
                                     (1, 1, 1)):
            seq += 7
            inner = clear(inner_v6, not tunnel)
            wire = seal(suite, key_len, mac_len, inner,
                        outer(v6, inner_v6, seq) if tunnel else None, seq)
            print(f'\t{{ "{suite}", FAMILY_V{"64"[not v6]}, FAMILY_V{"64"[not inner_v6]}, '
                  f'{"true" if tunnel else "false"}, {seq},')
            for text, end in ((raw(inner).hex(), ","), (wire.hex(), " },")):
                lines = [text[i:i + 80] for i in range(0, len(text), 80)]
                print("\n".join(f'\t  "{line}"' for line in lines) + end)
    print("};\n/* clang-format on */\n\n#endif /* SELFTESTS_VECTORS_UDP_SCAPY_H */")


if __name__ == "__main__":
    main()
