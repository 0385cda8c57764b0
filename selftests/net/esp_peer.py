# SPDX-License-Identifier: BSD-2-Clause
"""scapy as the independent IPsec implementation: makes and opens ESP by the SA files we load.

scapy 2.5 signs ESP without the high half of an extended sequence number; RFC 4303 2.2.1 wants it
after the packet for separate MACs. EsnAuthAlgo adds that; everything else is scapy's.

Always give Ether() both addresses: scapy would otherwise ask for them on the machine's own network.
"""
import os
import struct
import warnings

warnings.filterwarnings("ignore", module="scapy|cryptography")
# pylint: disable=wrong-import-position
from scapy.config import conf
conf.ipv6_enabled = True
from scapy.layers.inet import ICMP, IP, TCP, UDP
from scapy.layers.inet6 import ICMPv6EchoRequest, IPv6
from scapy.layers.ipsec import AUTH_ALGOS, CRYPT_ALGOS, ESP, AuthAlgo, CryptAlgo, \
        IPSecIntegrityError, SecurityAssociation, algorithms, modes
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw, raw

MACS = {"sha256": "SHA2-256-128", "sha384": "SHA2-384-192", "sha512": "SHA2-512-256",
        "sha1": "HMAC-SHA1-96", "aescmac": "AES-CMAC-96", "md5": "HMAC-MD5-96"}
# scapy's AES-GCM has one ICV length; its classes take others by the other interface below them.
for octets in (8, 12):
    CRYPT_ALGOS[f"AES-GCM-{octets}"] = CryptAlgo(
            f"AES-GCM-{octets}", cipher=algorithms.AES, mode=modes.GCM, salt_size=4, iv_size=8,
            block_size=1, icv_size=octets, format_mode_iv=lambda sa, iv, **_: sa.crypt_salt + iv)


def algorithms_of(suite):
    """scapy's names of cipher and MAC; None: it does not know them, or there is no MAC."""
    cipher, _, mac = suite.partition("-")
    if cipher == "chacha20poly1305":
        return "CHACHA20-POLY1305", None
    if "gcm" in cipher:
        return {"16": "AES-GCM"}.get(cipher[9:], f"AES-GCM-{cipher[9:]}"), None
    if "gmac" in cipher or mac not in MACS:
        return None, None
    return {"null": "NULL", "3des": "3DES"}.get(
            cipher, "AES-CTR" if "ctr" in cipher else "AES-CBC"), MACS[mac]


class EsnAuthAlgo(AuthAlgo):
    """A MAC over packet and high sequence number."""

    def __init__(self, base, high):
        super().__init__(base.name, base.mac, base.digestmod, base.icv_size, base.key_size)
        self.high = struct.pack("!L", high)

    def _icv(self, data, key):
        mac = self.new_mac(key)
        mac.update(data + self.high)
        return mac.finalize()[:self.icv_size]

    def sign(self, pkt, key, esn_en=False, esn=0):
        pkt[ESP].data += self._icv(raw(pkt[ESP]), key)
        return pkt

    def verify(self, pkt, key, esn_en=False, esn=0):
        data = raw(pkt[ESP])
        if self._icv(data[:-self.icv_size], key) != data[-self.icv_size:]:
            raise IPSecIntegrityError("ICV")


class Peer:
    """One SA of an SA file, in scapy's hands. high: upper 32 bits of the sequence number."""

    def __init__(self, sa, high=0):
        self.sa = sa
        self.v6 = ":" in sa["src"]
        self.tunnel = sa.get("mode", "transport") == "tunnel"
        self.esn = sa.get("esn", True)
        self.high = high
        self.seq = 1
        cipher, mac = algorithms_of(sa["suite"])
        self.cipher, self.mac = CRYPT_ALGOS[cipher], AUTH_ALGOS[mac or "NULL"]
        self.icv_size = self.cipher.icv_size if self.cipher.is_aead else self.mac.icv_size
        spi = sa["spi"]
        self.spi = spi if isinstance(spi, int) else int(spi, 0)

    def _association(self):
        sa = self.sa
        header = None
        if self.tunnel:
            header = (IPv6 if self.v6 else IP)(src=sa["src"], dst=sa["dst"])
        aead = self.cipher.is_aead
        made = SecurityAssociation(
                ESP, spi=self.spi, crypt_algo=self.cipher.name,
                crypt_key=bytes.fromhex(sa.get("key", "")) or None,
                auth_algo=None if aead else self.mac.name,
                auth_key=bytes.fromhex(sa.get("auth_key", "")) or None,
                tunnel_header=header, esn_en=aead and self.esn, esn=self.high)
        if not aead and self.esn:
            made.auth_algo = EsnAuthAlgo(self.mac, self.high)
        return made

    def seal(self, inner, seq=None, iv=None):
        """The IP packet with ESP for `inner`, an IP or IPv6 packet. seq: low 32 bits."""
        if seq is None:
            seq = self.seq
            self.seq += 1
        if iv is None:
            iv = os.urandom(self.cipher.iv_size)
        inner = inner.__class__(raw(inner))
        return self._association().encrypt(inner, seq_num=seq, iv=iv)

    def open(self, packet):
        """The inner packet of an IP packet with ESP. Raises IPSecIntegrityError."""
        packet = packet.__class__(raw(packet))
        return self._association().decrypt(packet)

    def open_exact(self, frame):
        """Opens a frame and proves it byte for byte: sealing the result again with the same
        sequence number and IV must give the same octets, padding and ICV included, with
        nothing behind them. Returns (outer header, sequence number, inner packet)."""
        outer = ip_of(frame)
        assert outer is not None and outer.haslayer(ESP), f"not ESP: {frame.hex()}"
        esp = raw(outer[ESP])
        spi, seq = struct.unpack_from("!LL", esp)
        assert spi == self.spi, f"SPI {spi:#x}, expected {self.spi:#x}"
        inner = self.open(outer)
        again = self.seal(inner, seq=seq, iv=esp[8:8 + self.cipher.iv_size])
        assert raw(again[ESP]) == esp, \
                f"ESP differs from what scapy makes:\n{esp.hex()}\n{raw(again[ESP]).hex()}"
        return outer, seq, inner


def ip_of(frame):
    """The IP packet of a frame (bytes), VLAN tags and link padding taken off; None if not IP."""
    ether = Ether(frame)
    layer = ether.getlayer(IP) or ether.getlayer(IPv6)
    if layer is None:
        return None
    data = raw(layer)
    length = struct.unpack_from("!H", data, 2)[0] if layer.version == 4 \
            else 40 + struct.unpack_from("!H", data, 4)[0]
    return layer.__class__(data[:length])


def assert_checksums(packet):
    """IPv4 header and TCP/UDP/ICMP checksums of a packet are what scapy computes."""
    fresh = packet.__class__(raw(packet))
    for layer in (IP, UDP, TCP, ICMP, ICMPv6EchoRequest):
        if fresh.haslayer(layer):
            delattr(fresh[layer], "cksum" if layer is ICMPv6EchoRequest else "chksum")
    assert raw(fresh) == raw(packet), f"checksums:\n{raw(packet).hex()}\n{raw(fresh).hex()}"
