# SPDX-License-Identifier: BSD-2-Clause
"""Two hosts and the wire between them, in network namespaces, and traffic over it.

Host A and host B each have one end of a veth pair; the other ends are ports of a bridge in a third
namespace, the wire. Only there is a capture beyond doubt: on a host's own interface the kernel shows
decrypted packets again, as received. Everything happens in this process, which enters a namespace
to create a socket in it: starting programs is slow under emulation.
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
IPPROTO_ICMPV6 = 58
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


def set_up_network():
    for name in (A.name, B.name, WIRE):
        subprocess.run(["ip", "netns", "add", name], check=True)
        # The bridge has nothing to say, and the hosts say only what the tests make them say.
        with in_netns(name):
            sysctl("net/ipv6/conf/default/router_solicitations", 0)
            sysctl("net/ipv6/conf/default/disable_ipv6", int(name == WIRE))
            sysctl("net/ipv6/conf/default/accept_dad", 0)
    ip_batch(WIRE, ["link add br0 type bridge mcast_snooping 0", "link set br0 up"])
    for host in (A, B):
        ip_batch(WIRE, [f"link add to{host.name} type veth peer name {host.dev} netns {host.name}",
                        f"link set to{host.name} master br0 up"])
        ip_batch(host.name, ["link set lo up",
                             f"link set {host.dev} up",
                             f"address add {host.v4}/24 dev {host.dev}",
                             f"address add {host.v6}/64 dev {host.dev} nodad"])
    for host, peer in ((A, B), (B, A)):
        inner, beyond = INNER[host], INNER[peer]
        ip_batch(host.name, [f"address add {inner.v4}/32 dev lo", f"address add {inner.v6}/128 dev lo",
                             f"route add {beyond.v4}/32 via {peer.v4} src {inner.v4}",
                             f"route add {beyond.v6}/128 via {peer.v6} src {inner.v6}"])


def tear_down_network():
    for name in (A.name, B.name, WIRE):
        subprocess.run(["ip", "netns", "del", name], check=False)


def sysctl(name, value):
    with open(f"/proc/sys/{name}", "w") as knob:
        knob.write(str(value))


# ---- the wire ----

@dataclass(frozen=True)
class Esp:
    """One ESP packet as an eavesdropper sees it."""
    src: str
    dst: str
    spi: int
    seq: int            # the low 32 bits, which are what is sent


class Wire:
    """A capture of every frame that passes between the hosts."""

    def __init__(self):
        with in_netns(WIRE):
            self.sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
            self.sock.bind((f"to{A.name}", ETH_P_ALL))
            self.sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
        self.sock.setblocking(False)
        self.esp = []
        self.clear = []     # descriptions of what should not be there

    def close(self):
        self.sock.close()

    def read(self):
        """Sorts what has been captured since into self.esp and self.clear."""
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
        self.esp.clear()
        self.clear.clear()

    def sort(self, frame):
        ethertype = struct.unpack_from("!H", frame, 12)[0]
        ip = frame[14:]
        if ethertype == 0x0806:
            return
        if ethertype == 0x0800:
            family, proto, header = socket.AF_INET, ip[9], (ip[0] & 15) * 4
            src, dst = ip[12:16], ip[16:20]
            fragment = struct.unpack_from("!H", ip, 6)[0] & 0x1fff
        elif ethertype == 0x86dd:
            family, proto, header = socket.AF_INET6, ip[6], 40
            src, dst = ip[8:24], ip[24:40]
            fragment = 0
        else:
            self.clear.append(f"ethertype {ethertype:#06x}")
            return
        src, dst = socket.inet_ntop(family, src), socket.inet_ntop(family, dst)
        if proto == IPPROTO_ESP and not fragment:
            spi, seq = struct.unpack_from("!II", ip, header)
            self.esp.append(Esp(src, dst, spi, seq))
        elif not essential(family, proto, ip, header):
            self.clear.append(f"{src} > {dst} protocol {proto}: {ip[header:header + 16].hex()}")


def essential(family, proto, ip, header):
    """Neighbour discovery, and the reports a host must send to be found by it."""
    if family != socket.AF_INET6:
        return False
    if proto == 0 and ip[40] == IPPROTO_ICMPV6:     # MLD, behind a hop-by-hop header
        return ip[48] in (130, 131, 132, 143)
    return proto == IPPROTO_ICMPV6 and ip[header] in ND_TYPES


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


def ping(src, dst, family, sizes=(56, 1200), limit=LIMIT_S):
    """Sends an echo request of each (even) size; the number of right answers."""
    request, reply = (8, 0) if family == 4 else (128, 129)
    proto = socket.IPPROTO_ICMP if family == 4 else IPPROTO_ICMPV6
    answers = 0
    with make_socket(src, family, socket.SOCK_RAW, proto) as sock:
        sock.connect((dst.address(family), 0))
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
