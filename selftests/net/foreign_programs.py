# SPDX-License-Identifier: BSD-2-Clause
"""BPF programs of somebody else at hooks of ours: in the way, or meddling. Made of a few instructions."""
import contextlib
import ctypes
import os
import socket
import struct

import pytest

import sockets
import topology as net

FLAGS_SET = 59          # bpf_sock_ops_cb_flags_set()
PROG_SOCK_OPS, CGROUP_SOCK_OPS, ALLOW_MULTI = 13, 3, 2
BPF_PROG_LOAD, BPF_PROG_ATTACH, BPF_PROG_DETACH, BPF_LINK_CREATE = 5, 8, 9, 28
PROG_CGROUP_SOCK_ADDR, CGROUP_INET4_CONNECT = 18, 10
PROG_SCHED_CLS, TCX_INGRESS = 3, 46
MOV_IMM, STORE_WORD, CALL, EXIT, MARK_OFFSET = 0xb7, 0x63, 0x85, 0x95, 8


def load_program(kind, attach_type, *instructions):
    """instructions: (code, registers, offset, immediate)."""
    code = ctypes.create_string_buffer(b"".join(struct.pack("=BBhi", *one) for one in instructions))
    free = ctypes.create_string_buffer(b"GPL")
    return sockets.bpf(BPF_PROG_LOAD, struct.pack(
        "=IIQQIIQII16sII", kind, len(instructions), ctypes.addressof(code), ctypes.addressof(free),
        0, 0, 0, 0, 0, b"selftest", 0, attach_type))


class Attached:
    """A program at a hook of a cgroup."""

    def __init__(self, cgroup, program, attach_type, flags):
        self.cgroup = os.open(cgroup, os.O_RDONLY | os.O_DIRECTORY)
        self.program, self.attach_type = program, attach_type
        sockets.bpf(BPF_PROG_ATTACH, self.place(flags))

    def place(self, flags=0):
        return struct.pack("=IIIII", self.cgroup, self.program, self.attach_type, flags, 0)

    def close(self):
        sockets.bpf(BPF_PROG_DETACH, self.place())
        os.close(self.program)
        os.close(self.cgroup)


class Exclusive(Attached):
    """It holds connect4 of a cgroup for itself, and allows everything."""

    def __init__(self, cgroup):
        program = load_program(PROG_CGROUP_SOCK_ADDR, CGROUP_INET4_CONNECT,
                               (MOV_IMM, 0, 0, 1), (EXIT, 0, 0, 0))
        super().__init__(cgroup, program, CGROUP_INET4_CONNECT, 0)


class TakingFlags(Attached):
    """At each sockops it says that nobody needs to be told anything."""

    def __init__(self, cgroup):
        program = load_program(PROG_SOCK_OPS, CGROUP_SOCK_OPS, (MOV_IMM, 2, 0, 0),
                               (CALL, 0, 0, FLAGS_SET), (MOV_IMM, 0, 0, 1), (EXIT, 0, 0, 0))
        super().__init__(cgroup, program, CGROUP_SOCK_OPS, ALLOW_MULTI)


@contextlib.contextmanager
def marking(host, ifname, mark):
    """Everything that the interface receives gets this mark."""
    program = load_program(PROG_SCHED_CLS, 0, (MOV_IMM, 2, 0, mark - (1 << 32)),
                           (STORE_WORD, 2 << 4 | 1, MARK_OFFSET, 0), (MOV_IMM, 0, 0, -1),
                           (EXIT, 0, 0, 0))
    with net.InNetns(net.netns_path(host.netns)):
        try:
            link = sockets.bpf(BPF_LINK_CREATE, struct.pack(
                "=IIII", program, socket.if_nametoindex(ifname), TCX_INGRESS, 0).ljust(48, b"\0"))
        except OSError as error:
            pytest.skip(f"no tcx in this kernel: {error}")
    try:
        yield
    finally:
        os.close(link)
        os.close(program)
