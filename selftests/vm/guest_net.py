# SPDX-License-Identifier: BSD-2-Clause
"""Two hosts and the wire between them, in network namespaces, and traffic over it.

Host A and host B each have one end of a veth pair; the other ends are ports of a bridge in a third
namespace, the wire. Or the third namespace is a router between their networks, which may carry
less than the hosts' own links. Only there is a capture beyond doubt: on a host's own interface the
kernel shows decrypted packets again, as received. Everything happens in this process, which enters a
namespace to create a socket in it: starting programs is slow under emulation.
"""

import contextlib
import ctypes
import hashlib
import os
import select
import socket
import struct
import subprocess
import threading
import time
from dataclasses import dataclass

CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
SO_RCVBUFFORCE = 33
SOL_PACKET = 263
PACKET_STATISTICS = 6
IPPROTO_ESP = 50
IPPROTO_AH = 51
IPPROTO_ICMPV6 = 58
IPPROTO_FRAGMENT = 44
EXTENSION_HEADERS = (0, 43, IPPROTO_FRAGMENT, 60)
IPV6_HOPOPTS = 54
IPV6_DSTOPTS = 59
ND_TYPES = range(133, 138)      # RFC 4861 §4
# A lost packet shows as a time-out; emulation is slow, so the limit is generous.
LIMIT_S = 10

libc = ctypes.CDLL(None, use_errno=True)


@contextlib.contextmanager
def in_netns(name):
    """This thread, and programs it starts, in the namespace; sockets stay where they were made."""
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{name}") as there:
        enter(there)
        try:
            yield
        finally:
            enter(home)


def enter(namespace):
    if libc.setns(namespace.fileno(), CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


def ip_batch(name, lines, *options):
    """Runs `ip` commands in a namespace; the first that fails is an error with its text."""
    result = subprocess.run(["ip", *options, "-n", name, "-batch", "-"], input="\n".join(lines) + "\n",
                            capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"ip, in {name}: {result.stderr.strip()}\n" + "\n".join(lines))
    return result.stdout


@dataclass(frozen=True)
class Host:
    name: str           # also its namespace's
    dev: str
    v4: str
    v6: str

    def address(self, family):
        return self.v4 if family == 4 else self.v6


A = Host("A", "veth0", "10.99.0.1", "fd99::1")
B = Host("B", "veth0", "10.99.0.2", "fd99::2")
WIRE = "W"
# The same hosts by addresses that only a tunnel carries, as those of a network behind each.
INNER = {A: Host("A", "lo", "10.77.1.1", "fd77:1::1"), B: Host("B", "lo", "10.77.2.1", "fd77:2::1")}
# The same hosts with a router between them, and that router, by its side towards each.
ROUTED_A = Host("A", "veth0", "10.99.1.1", "fd99:1::1")
ROUTED_B = Host("B", "veth0", "10.99.2.1", "fd99:2::1")
ROUTER = {ROUTED_A: Host(WIRE, "toA", "10.99.1.254", "fd99:1::fe"),
          ROUTED_B: Host(WIRE, "toB", "10.99.2.254", "fd99:2::fe")}


def set_up_network(routed=False):
    for name in (A.name, B.name, WIRE):
        subprocess.run(["ip", "netns", "add", name], check=True)
        # The wire has nothing to say, and the hosts say only what the tests make them say.
        with in_netns(name):
            sysctl("net/ipv6/conf/default/router_solicitations", 0)
            sysctl("net/ipv6/conf/default/disable_ipv6", int(name == WIRE and not routed))
            sysctl("net/ipv6/conf/default/accept_dad", 0)
    if routed:
        set_up_router()
    else:
        set_up_bridge()


def set_up_link(host, at_wire):
    ip_batch(WIRE, [f"link add to{host.name} type veth peer name {host.dev} netns {host.name}",
                    f"link set to{host.name} {at_wire} up"])
    ip_batch(host.name, ["link set lo up",
                         f"link set {host.dev} up",
                         f"address add {host.v4}/24 dev {host.dev}",
                         f"address add {host.v6}/64 dev {host.dev} nodad"])


def set_up_bridge():
    ip_batch(WIRE, ["link add br0 type bridge mcast_snooping 0", "link set br0 up"])
    for host in (A, B):
        set_up_link(host, "master br0")
    for host, peer in ((A, B), (B, A)):
        inner, beyond = INNER[host], INNER[peer]
        ip_batch(host.name, [f"address add {inner.v4}/32 dev lo", f"address add {inner.v6}/128 dev lo",
                             f"route add {beyond.v4}/32 via {peer.v4} src {inner.v4}",
                             f"route add {beyond.v6}/128 via {peer.v6} src {inner.v6}"])


def set_up_router():
    with in_netns(WIRE):
        sysctl("net/ipv4/ip_forward", 1)
        sysctl("net/ipv6/conf/all/forwarding", 1)
        # Every packet-too-big message counts: none is held back.
        sysctl("net/ipv4/icmp_ratelimit", 0)
        sysctl("net/ipv6/icmp/ratelimit", 0)
    for host, router in ROUTER.items():
        set_up_link(host, "")
        ip_batch(WIRE, [f"address add {router.v4}/24 dev {router.dev}",
                        f"address add {router.v6}/64 dev {router.dev} nodad"])
        ip_batch(host.name, [f"route add default via {router.v4}", f"route add ::/0 via {router.v6}"])


def set_path_mtu(mtu):
    """What the router carries, in both directions, as a narrow link behind it would.

    All that the hosts have learnt before is forgotten.
    """
    ip_batch(WIRE, [f"route replace {host.address(family)} dev {router.dev} mtu lock {mtu}"
                    for host, router in ROUTER.items() for family in (4, 6)])
    for host in ROUTER:
        for family in (4, 6):
            ip_batch(host.name, ["route flush cache"], f"-{family}")


def tear_down_network():
    for name in (A.name, B.name, WIRE):
        subprocess.run(["ip", "netns", "del", name], check=False)


def sysctl(name, value):
    with open(f"/proc/sys/{name}", "w") as knob:
        knob.write(str(value))


# ---- the wire ----

@dataclass(frozen=True)
class Sealed:
    """One protected packet as an eavesdropper sees it: the outermost SA and header."""
    src: str
    dst: str
    spi: int
    seq: int            # the low 32 bits, which are what is sent
    traffic_class: int  # DSCP and ECN


@dataclass
class Header:
    """An IP header, and where what it carries begins."""
    family: int
    src: str
    dst: str
    traffic_class: int
    proto: int
    upper: bytes        # beginning with the header of `proto`
    later: bool = False     # a fragment, but not the first


def parse_ip(ethertype, ip):
    """None if it is not IP."""
    if ethertype == 0x0800:
        return Header(4, socket.inet_ntop(socket.AF_INET, ip[12:16]),
                      socket.inet_ntop(socket.AF_INET, ip[16:20]), ip[1], ip[9],
                      ip[(ip[0] & 15) * 4:], bool(struct.unpack_from("!H", ip, 6)[0] & 0x1fff))
    if ethertype != 0x86dd:
        return None
    header = Header(6, socket.inet_ntop(socket.AF_INET6, ip[8:24]),
                    socket.inet_ntop(socket.AF_INET6, ip[24:40]),
                    struct.unpack_from("!H", ip)[0] >> 4 & 0xff, ip[6], ip[40:])
    while header.proto in EXTENSION_HEADERS and not header.later:
        fragment = header.proto == IPPROTO_FRAGMENT
        length = 8 if fragment else (header.upper[1] + 1) * 8
        header.later = fragment and bool(struct.unpack_from("!H", header.upper, 2)[0] & 0xfff8)
        header.proto, header.upper = header.upper[0], header.upper[length:]
    return header


class Wire:
    """A capture of every frame that passes between the hosts."""

    def __init__(self, routers=()):
        with in_netns(WIRE):
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self.sock.bind((f"to{A.name}", ETH_P_ALL))
            self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.sock.setblocking(False)
        self.routers = {host.address(family) for host in routers for family in (4, 6)}
        self.udp_ports = set()  # in which ESP is expected
        self.sealed = []
        self.errors = 0     # ICMP messages of the router
        self.keepalives = 0
        self.clear = []     # descriptions of what should not be there

    def close(self):
        self.sock.close()

    def read(self):
        """Sorts what has been captured since into self.sealed and self.clear."""
        while True:
            try:
                self.sort(self.sock.recv(65536))
            except BlockingIOError:
                break
        stats = self.sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8)
        lost = struct.unpack("II", stats)[1]
        assert lost == 0, f"the capture lost {lost} frames"

    def forget(self):
        self.read()
        self.sealed.clear()
        self.clear.clear()
        self.errors = 0

    def sort(self, frame):
        ethertype = struct.unpack_from("!H", frame, 12)[0]
        if ethertype == 0x0806:
            return
        header = parse_ip(ethertype, frame[14:])
        if not header:
            self.clear.append(f"ethertype {ethertype:#06x}")
            return
        where = self.esp_or_ah(header)
        if where is not None:
            if not header.later:
                spi, seq = struct.unpack_from("!II", header.upper, where)
                self.sealed.append(Sealed(header.src, header.dst, spi, seq, header.traffic_class))
        elif self.udp_ports and is_keepalive(header):
            self.keepalives += 1
        elif header.src in self.routers and header.proto in (socket.IPPROTO_ICMP, IPPROTO_ICMPV6):
            self.errors += not essential(header)
        elif not essential(header):
            self.clear.append(f"{header.src} > {header.dst} protocol {header.proto}: "
                              f"{header.upper[:16].hex()}")

    def esp_or_ah(self, header):
        """Where the SPI stands behind the IP headers; None if this is neither ESP nor AH."""
        if header.proto == IPPROTO_ESP:
            return 0
        if header.proto == IPPROTO_AH:
            return 4
        if header.proto != socket.IPPROTO_UDP or not self.udp_ports:
            return None
        if header.later:
            return 8
        source, destination = struct.unpack_from("!HH", header.upper)
        # Not IKE, which begins with a zero where ESP has its SPI (RFC 3948 2.2).
        ours = {source, destination} == self.udp_ports and any(header.upper[8:12])
        return 8 if ours and not is_keepalive(header) else None


def is_keepalive(header):
    """RFC 3948 2.3; the frame may be padded."""
    return header.proto == socket.IPPROTO_UDP and not header.later and \
        header.upper[4:6] == b"\0\x09" and header.upper[8] == 0xff


def essential(header):
    """Neighbour discovery, and the reports a host must send to be found by it."""
    return header.family == 6 and header.proto == IPPROTO_ICMPV6 and \
        header.upper[0] in (*ND_TYPES, 130, 131, 132, 143)


# ---- traffic ----

def make_socket(host, family, kind, proto=0, bind_port=None):
    with in_netns(host.name):
        sock = socket.socket(socket.AF_INET if family == 4 else socket.AF_INET6, kind, proto)
    sock.settimeout(LIMIT_S)
    if bind_port is not None:
        sock.bind((host.address(family), bind_port))
    return sock


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def set_ip_options(sock, family, options):
    """options: bytes of IPv4, or {socket option: extension header} of IPv6."""
    if family == 4:
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_OPTIONS, options)
        return
    for name, header in options.items():
        sock.setsockopt(socket.IPPROTO_IPV6, name, header)


def ping(src, dst, family, sizes=(56, 1200), limit=LIMIT_S, options=None):
    """Sends an echo request of each (even) size; the number of right answers."""
    request, reply = (8, 0) if family == 4 else (128, 129)
    proto = socket.IPPROTO_ICMP if family == 4 else IPPROTO_ICMPV6
    answers = 0
    with make_socket(src, family, socket.SOCK_RAW, proto) as sock:
        sock.connect((dst.address(family), 0))
        if options:
            set_ip_options(sock, family, options)
        for seq, size in enumerate(sizes):
            ident, data = os.getpid() & 0xffff, os.urandom(size)
            body = struct.pack("!HH", ident, seq) + data
            # The kernel fills in ICMPv6's checksum, which covers addresses.
            check = checksum(struct.pack("!BBH", request, 0, 0) + body) if family == 4 else 0
            sock.send(struct.pack("!BBH", request, 0, check) + body)
            answers += wait_for_echo(sock, family, reply, body, limit)
    return answers


def wait_for_echo(sock, family, reply, body, limit):
    deadline = time.monotonic() + limit
    while (left := deadline - time.monotonic()) > 0:
        if not select.select([sock], [], [], left)[0]:
            break
        packet = sock.recv(65536)
        header = (packet[0] & 15) * 4 if family == 4 else 0
        if packet[header] == reply and packet[header + 4:] == body:
            return 1
    return 0


def tcp_transfer(src, dst, family, size):
    """Sends size random bytes over one connection; asserts that they arrive and are acknowledged."""
    data = os.urandom(size)
    failure = []

    def serve(listener):
        try:
            conn, _ = listener.accept()
            with conn:
                conn.settimeout(LIMIT_S)
                digest = hashlib.sha256()
                while block := conn.recv(1 << 18):
                    digest.update(block)
                conn.sendall(digest.digest())
        except OSError as error:
            failure.append(error)

    with make_socket(dst, family, socket.SOCK_STREAM, bind_port=0) as listener:
        listener.listen()
        server = threading.Thread(target=serve, args=(listener,))
        server.start()
        try:
            with make_socket(src, family, socket.SOCK_STREAM) as sock:
                sock.connect(listener.getsockname())
                sock.sendall(data)
                sock.shutdown(socket.SHUT_WR)
                answer = sock.recv(32, socket.MSG_WAITALL)
        finally:
            server.join()
    assert not failure, f"the receiver: {failure[0]}"
    assert answer == hashlib.sha256(data).digest(), "other bytes arrived than were sent"


def udp_exchange(src, dst, family, sizes):
    """Sends a datagram of each size, which is echoed; asserts that each comes back as it was."""
    with make_socket(dst, family, socket.SOCK_DGRAM, bind_port=0) as server, \
            make_socket(src, family, socket.SOCK_DGRAM, bind_port=0) as client:
        for size in sizes:
            data = os.urandom(size)
            client.sendto(data, server.getsockname())
            got, peer = server.recvfrom(65536)
            assert got == data, f"a datagram of {size} bytes arrived changed"
            server.sendto(got, peer)
            assert client.recv(65536) == data, f"a datagram of {size} bytes came back changed"
