# SPDX-License-Identifier: BSD-2-Clause
"""scapy as the independent IPsec implementation: makes and opens ESP, AH and ESP in UDP by the SA
files we load.

scapy 2.5 signs ESP without the high half of an extended sequence number; RFC 4303 2.2.1 wants it
after the packet for separate MACs. EsnAuthAlgo adds that. Its NAT traversal writes a wrong UDP
length: scapy's own UDP is put around its ESP instead. Everything else is scapy's.

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
from scapy.layers.inet6 import ICMPv6EchoRequest, ICMPv6PacketTooBig, ICMPv6TimeExceeded, \
        IPv6, IPv6ExtHdrFragment, IPv6ExtHdrHopByHop
from scapy.layers.ipsec import AH, AUTH_ALGOS, CRYPT_ALGOS, ESP, AuthAlgo, CryptAlgo, \
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


def _without_lengths(header):
    """Lengths, checksum and next header of an IP header are to be computed anew."""
    for field in ("len", "chksum", "proto") if header.version == 4 else ("plen", "nh"):
        delattr(header, field)
    if header.haslayer(IPv6ExtHdrHopByHop):
        del header[IPv6ExtHdrHopByHop].nh


def wrap(packet, sport, dport):
    """The packet with a UDP header before its ESP. The checksum is left out over IPv4 only."""
    esp = raw(packet[ESP])
    packet[ESP].underlayer.remove_payload()
    _without_lengths(packet)
    return packet / UDP(sport=sport, dport=dport, chksum=None if packet.version == 6 else 0) \
        / Raw(esp)


def unwrap(packet):
    """The packet with ESP directly behind its IP header."""
    esp = raw(packet[UDP].payload)
    packet[UDP].underlayer.remove_payload()
    _without_lengths(packet)
    packet = packet / ESP(esp)
    return packet.__class__(raw(packet))


class Peer:
    """One SA of an SA file, in scapy's hands. high: upper 32 bits of the sequence number."""

    def __init__(self, sa, high=0):
        self.sa = sa
        self.v6 = ":" in sa["src"]
        self.tunnel = sa.get("mode", "transport") == "tunnel"
        self.esn = sa.get("esn", True)
        self.high = high
        self.seq = 1
        self.layer = AH if sa.get("proto") == "ah" else ESP
        self.udp = sa.get("encap")
        if self.layer is AH:
            cipher, mac = "NULL", MACS[sa["suite"]]
        else:
            cipher, mac = algorithms_of(sa["suite"])
        self.cipher, self.mac = CRYPT_ALGOS[cipher], AUTH_ALGOS[mac or "NULL"]
        self.icv_size = self.cipher.icv_size if self.cipher.is_aead else self.mac.icv_size
        spi = sa["spi"]
        self.spi = spi if isinstance(spi, int) else int(spi, 0)

    def header(self, inner, ident=0):
        """The header that ours puts in front in tunnel mode (RFC 4301 5.1.2), with the
        identification that it has chosen."""
        tos = inner.tos if inner.version == 4 else inner.tc
        dscp = self.sa.get("dscp", "copy")
        if dscp != "copy":
            tos = dscp << 2 | tos & 3
        addresses = {"src": self.sa["src"], "dst": self.sa["dst"]}
        if self.v6:
            return IPv6(tc=tos, fl=inner.fl if inner.version == 6 else 0, hlim=64, **addresses)
        df = self.sa.get("df", "copy")
        if df == "copy":
            df = "set" if inner.version == 6 or "DF" in inner.flags else "clear"
        return IP(tos=tos, id=ident, flags="DF" if df == "set" else 0, ttl=64, **addresses)

    def _association(self, header=None):
        sa = self.sa
        if self.tunnel and header is None:
            header = (IPv6 if self.v6 else IP)(src=sa["src"], dst=sa["dst"])
        aead = self.cipher.is_aead
        made = SecurityAssociation(
                self.layer, spi=self.spi,
                crypt_algo=self.cipher.name if self.layer is ESP else None,
                crypt_key=bytes.fromhex(sa.get("key", "")) or None,
                auth_algo=None if aead else self.mac.name,
                auth_key=bytes.fromhex(sa.get("auth_key", "")) or None,
                tunnel_header=header if self.tunnel else None,
                esn_en=self.esn and (aead or self.layer is AH), esn=self.high)
        if self.layer is ESP and not aead and self.esn:
            made.auth_algo = EsnAuthAlgo(self.mac, self.high)
        return made

    def seal(self, inner, seq=None, iv=None, header=None):
        """The IP packet with ESP or AH for `inner`, an IP or IPv6 packet. seq: low 32 bits.
        header: the outer one in tunnel mode, if not scapy's usual."""
        if seq is None:
            seq = self.seq
            self.seq += 1
        inner = inner.__class__(raw(inner))
        association = self._association(header)
        association.seq_num = seq       # scapy takes a sequence number of 0 for none given
        if self.layer is AH:
            # a reserved field and the flags' third bit are as scapy has them by default: 0
            return association.encrypt(inner, seq_num=seq)
        packet = association.encrypt(inner, seq_num=seq,
                                     iv=os.urandom(self.cipher.iv_size) if iv is None else iv)
        return wrap(packet, self.udp["sport"], self.udp["dport"]) if self.udp else packet

    def open(self, packet):
        """The inner packet of an IP packet with ESP or AH. Raises IPSecIntegrityError."""
        packet = packet.__class__(raw(packet))
        if self.udp:
            packet = unwrap(packet)
        inner = raw(self._association().decrypt(packet))
        # scapy 2.5 does not know what is in a tunnel of AH
        return (IPv6 if inner[0] >> 4 == 6 else IP)(inner)

    def open_exact(self, frame):
        """Opens a frame and proves it byte for byte: sealing the result again with the same
        sequence number and IV, in tunnel mode behind the header that ours is to write, must give
        the same octets from the IP header to the end, padding and ICV included, with nothing
        behind them. Returns (outer header, sequence number, inner packet)."""
        outer = ip_of(frame)
        around = UDP if self.udp else self.layer
        assert outer is not None and outer.haslayer(around), f"not {around}: {frame.hex()}"
        at = raw(outer[UDP].payload) if self.udp else raw(outer[self.layer])
        spi, seq = struct.unpack_from("!LL", at, 4 if self.layer is AH else 0)
        assert spi == self.spi, f"SPI {spi:#x}, expected {self.spi:#x}"
        inner = self.open(outer)
        again = self.seal(inner, seq=seq, iv=at[8:8 + self.cipher.iv_size],
                          header=self.header(inner, 0 if self.v6 else outer.id))
        assert raw(again) == raw(outer), \
                f"differs from what scapy makes:\n{raw(outer).hex()}\n{raw(again).hex()}"
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
