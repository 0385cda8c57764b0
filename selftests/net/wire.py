# SPDX-License-Identifier: BSD-2-Clause
"""Frames on the wire, and the few helpers that everything here stands on.

Port sends and hears frames at one port of the bridge, Capture records them, kind() says what a
frame is. For counting at full speed see wirecount.c.
"""
import ctypes
import os
import select
import socket
import struct
import subprocess
import threading
import time

SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 263, 8, 23
SO_RCVBUFFORCE = 33
CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
VLAN_VALID = 1 << 4             # TP_STATUS_VLAN_VALID


class Failure(Exception):
    """A command or a condition failed; the text says which and how."""


def wait_until(condition, what, timeout=10.0):
    """Polls until condition() is true and returns its value; Failure after timeout seconds."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failure(f"{what}: not within {timeout:g} s")
        time.sleep(0.01)


def run_command(argv, check=True, input=None, timeout=60):
    try:
        done = subprocess.run(argv, input=input, text=True, capture_output=True,
                              timeout=timeout,
                              stdin=None if input is not None else subprocess.DEVNULL)
    except subprocess.TimeoutExpired as error:
        raise Failure(f"{' '.join(argv)}: still running after {timeout} s; "
                      f"said: {error.stdout or b''!r} {error.stderr or b''!r}") from error
    if check and done.returncode:
        raise Failure(f"{' '.join(argv)}: exit {done.returncode}: "
                      f"{(done.stderr or done.stdout).strip()}")
    return done


def netns_path(name):
    return f"/run/netns/{name}"


class InNetns:
    """The calling thread is in that network namespace inside the `with` block."""

    libc = ctypes.CDLL(None, use_errno=True)

    def __init__(self, path):
        self.path = path

    def _enter(self, fd):
        if self.libc.setns(fd, CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), f"setns {self.path}")

    def __enter__(self):
        self.home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        target = os.open(self.path, os.O_RDONLY)
        try:
            self._enter(target)
        finally:
            os.close(target)

    def __exit__(self, *_):
        self._enter(self.home)
        os.close(self.home)


class Port:
    """One port of the wire: sends frames to the host on it and hears what that host sends."""

    def __init__(self, netns, ifname):
        self.ifname = ifname
        with InNetns(netns_path(netns)):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
            self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
            self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 64 << 20)
            self.socket.bind((ifname, ETH_P_ALL))

    def send(self, frame):
        self.socket.send(bytes(frame))

    def receive(self):
        """One frame, with the VLAN tag put back that the kernel keeps apart."""
        data, ancillary, _, _ = self.socket.recvmsg(70000, 256)
        for level, kind, value in ancillary:
            if (level, kind) != (SOL_PACKET, PACKET_AUXDATA):
                continue
            status, _, _, _, _, tci, tpid = struct.unpack("=IIIHHHH", value[:20])
            if status & VLAN_VALID:
                data = data[:12] + struct.pack("!HH", tpid or 0x8100, tci) + data[12:]
        return data

    def close(self):
        self.socket.close()


class Capture:
    """Records every frame that enters the wire, in a thread; for up to some 10,000 packets/s."""

    AT_ONCE = 100_000       # more than a socket holds: who asks under traffic is not kept for ever

    def __init__(self, ports):
        self.ports = {port: threading.Lock() for port in ports}     # held from a socket to the list
        self.frames = []                # (port name, frame)
        self.changed = threading.Condition()
        self.threads = [threading.Thread(target=self._listen, args=(port,), daemon=True)
                        for port in ports]
        self.stopping = False
        for port in ports:
            port.socket.setblocking(False)
        for thread in self.threads:
            thread.start()

    def _listen(self, port):
        readable = select.poll()
        readable.register(port.socket, select.POLLIN)
        while not self.stopping:
            if readable.poll(100) and not self._take(port):
                return

    def _take(self, port):
        """What has come by this port. False: the port is gone, or down."""
        with self.ports[port]:
            for _ in range(self.AT_ONCE):
                try:
                    frame = port.receive()
                except BlockingIOError:
                    return True
                except OSError:
                    return False
                with self.changed:
                    self.frames.append((port.ifname, frame))
                    self.changed.notify_all()
        return True

    def _take_all(self):
        """However far behind the threads are: no frame that is on the wire comes after this."""
        for port in self.ports if not self.stopping else ():
            self._take(port)

    def clear(self):
        self._take_all()
        with self.changed:
            self.frames.clear()

    def taken(self, port=None):
        """Frames so far, optionally those that one host sent."""
        self._take_all()
        with self.changed:
            return [f for name, f in self.frames if port in (None, name)]

    def wait(self, predicate, what, port=None, timeout=5.0):
        """The first recorded frame for which predicate(frame) is true."""
        seen = 0
        end = time.monotonic() + timeout
        with self.changed:
            while True:
                for name, frame in self.frames[seen:]:
                    if port in (None, name) and predicate(frame):
                        return frame
                seen = len(self.frames)
                left = end - time.monotonic()
                if left <= 0:
                    raise Failure(f"not seen on the wire within {timeout:g} s: "
                                  f"{what} ({seen} other frames)")
                self.changed.wait(left)

    def close(self):
        self.stopping = True
        for thread in self.threads:
            thread.join()


def ethertype(frame):
    """(ethertype, offset of the network header), behind VLAN tags."""
    at = 12
    while frame[at:at + 2] in (b"\x81\x00", b"\x88\xa8"):
        at += 4
    return struct.unpack_from("!H", frame, at)[0], at + 2


def kind(frame):
    """What wirecount calls the frame: esp, arp, nd, clear or non_ip; and mld, which it calls clear."""
    proto, at = ethertype(frame)
    if proto == 0x0806:
        return "arp"
    if proto == 0x0800:
        return "esp" if frame[at + 9] == 50 else "clear"
    if proto != 0x86dd:
        return "non_ip"
    upper, at = frame[at + 6], at + 40
    while upper in (0, 43, 44, 60) and at + 8 <= len(frame):
        length = 8 if upper == 44 else (frame[at + 1] + 1) * 8
        upper, at = frame[at], at + length
    if upper == 50:
        return "esp"
    if upper != 58:
        return "clear"
    if frame[at] in (130, 131, 132, 143):
        return "mld"
    return "nd" if 133 <= frame[at] <= 137 else "clear"
