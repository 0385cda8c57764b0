# SPDX-License-Identifier: BSD-2-Clause
"""Applications of a test: a cgroup of its own, processes in it, and what the socket hooks note of their
sockets. Nothing is ever attached to a cgroup that the test has not made."""
import contextlib
import ctypes
import json
import os
import socket
import struct
import subprocess
import sys

import topology as net

HERE = os.path.dirname(os.path.abspath(__file__))
PYTHON = os.path.realpath("/usr/bin/python3")
SYS_PIDFD_OPEN, SYS_PIDFD_GETFD, SYS_BPF = 434, 438, 321
BPF_MAP_LOOKUP_ELEM, BPF_OBJ_GET = 1, 7
LEVELS = 8
DIGEST_UNIT, DIGEST_FILE = 1 << 63, 1 << 62
V4, V6, FAMILY_NONE = 0, 1, 2
SERVER = 1
FLOWS_MAX = 4           # of a scene's application
LIBC = ctypes.CDLL(None, use_errno=True)


def syscall(number, *arguments):
    value = LIBC.syscall(ctypes.c_long(number), *arguments)
    if value < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return value


cgroup_root = net.cgroup_root


class Cgroup:
    """A directory of cgroup2 that goes when the test does."""

    count = 0

    def __init__(self, *below):
        Cgroup.count += 1
        # A slice, as systemd would have it: the unit is further down.
        self.name = f"ipsecbpf-test-{os.getpid()}-{Cgroup.count}.slice"
        self.top = os.path.join(net.cgroup_root(), self.name)
        self.made = []
        self.add()
        for path in below:
            self.add(path)

    def add(self, path=""):
        """The file system's path of `path` below it."""
        full = self.top
        for part in [""] + path.split("/"):
            full = os.path.join(full, part) if part else full
            if not os.path.isdir(full):
                os.mkdir(full)
                self.made.append(full)
        return full

    def path(self, below=""):
        """As policy names it."""
        return f"/{self.name}/{below}".rstrip("/")

    def close(self):
        for path in reversed(self.made):
            if os.path.isdir(path):
                net.wait_until(lambda: not self._procs(path), f"{path} is empty")
                os.rmdir(path)

    @staticmethod
    def _procs(path):
        with open(os.path.join(path, "cgroup.procs")) as file:
            return file.read().split()


class Refused(Exception):
    """The kernel refused; the argument is the errno."""


class Actor:
    """A process on a host, in a cgroup (its file system path), that does what it is told."""

    def __init__(self, host, cgroup, uid=0, gid=0, python=PYTHON):
        become = f"import os; os.setgroups([]); os.setresgid({gid}, {gid}, 0); " \
                 f"os.setresuid({uid}, {uid}, 0); "
        script = f"echo $$ > {cgroup}/cgroup.procs && exec \"$@\""
        code = become + f"exec(compile(open({os.path.join(HERE, 'actor.py')!r}).read(), 'actor', 'exec'))"
        self.process = host.spawn("sh", "-c", script, "sh", python, "-c", code,
                                  stdin=subprocess.PIPE, stderr=sys.stderr)
        self.pid = self.do("os.getpid()")

    def do(self, code):
        """The value of an expression; None of a statement. Raises Refused."""
        self.process.stdin.write(json.dumps(code) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise net.Failure(f"actor ended at: {code}")
        answer = json.loads(line)
        if "error" in answer:
            raise Refused(answer["error"])
        return answer["value"]

    def fd(self, name):
        """Our own descriptor of its socket, to be closed."""
        pidfd = syscall(SYS_PIDFD_OPEN, self.pid, 0)
        try:
            return syscall(SYS_PIDFD_GETFD, pidfd, self.do(f"{name}.fileno()"), 0)
        finally:
            os.close(pidfd)

    def close(self):
        self.process.stdin.close()
        self.process.wait(10)


class Cast:
    """A cgroup on hosts a and b of a topology, and the processes in it; close() before the topology's."""

    def __init__(self, topology):
        self.topology, self.a, self.b = topology, topology.a, topology.b
        self.cgroup = Cgroup("app", "other")
        self.actors = []

    def actor(self, host, where="app", **more):
        actor = Actor(host, self.cgroup.add(where), **more)
        actor.host = host
        self.actors.append(actor)
        return actor

    def end(self, *actors):
        """These, or all of them. One that has died, as some are made to, ends like the others."""
        for actor in actors or list(self.actors):
            self.actors.remove(actor)
            with contextlib.suppress(OSError, subprocess.TimeoutExpired):
                actor.close()

    def nothing_noted(self, *hosts):
        """No connection and no bound socket is left."""
        for host in hosts:
            for name in ("app_flows", "app_endpoints"):
                net.wait_until(lambda: not dump(host, name), f"{name} of {host.name} is empty")

    def close(self):
        self.end()
        for host in filter(net.Host.attached, (self.a, self.b)):
            host.ipsecbpf("detach", net.IFNAME, "--open", check=False)
        self.cgroup.close()


# ---- maps -------------------------------------------------------------------------------------

def map_path(host, name):
    return os.path.join(net.PIN_ROOT, host.key, "maps", name)


def dump(host, name):
    """The entries of a map, as bpftool formats them by its BTF."""
    text = net.run_command(["/usr/sbin/bpftool", "-j", "map", "dump", "pinned",
                            map_path(host, name)]).stdout
    return [entry["formatted"] for entry in json.loads(text)]


def bpf(command, attributes):
    return syscall(SYS_BPF, command, attributes, len(attributes))


def noted(host, fd, size=208):
    """What is noted of a socket (struct app_socket), or None."""
    path = ctypes.create_string_buffer(map_path(host, "app_sockets").encode())
    map_fd = bpf(BPF_OBJ_GET, struct.pack("=QII", ctypes.addressof(path), 0, 0).ljust(32, b"\0"))
    key, value = ctypes.c_int(fd), ctypes.create_string_buffer(size)
    try:
        bpf(BPF_MAP_LOOKUP_ELEM, struct.pack("=IIQQQ", map_fd, 0, ctypes.addressof(key),
                                              ctypes.addressof(value), 0))
    except FileNotFoundError:
        return None
    finally:
        os.close(map_fd)
    return Noted(value.raw)


class Noted:
    """struct app_socket."""

    def __init__(self, raw):
        words = struct.unpack_from("=11Q4I2Q", raw)
        self.cgroup_id, self.cgroup, self.unit, self.exe = words[0], words[1:9], words[9], words[10]
        self.uid, self.gid, self.unit_level = words[11:14]
        self.who = raw[:104]
        self.resolved, self.cookie = words[15:]
        self.app = self.resolved & 0xffffffff
        self.flags, = struct.unpack_from("=I", raw, 200)


# ---- digests (bpf/app_digest.h), written anew --------------------------------------------------

MASK = (1 << 64) - 1


def _rotate(value, bits):
    return (value << bits | value >> (64 - bits)) & MASK


class SipHash:
    """SipHash-2-4, whose first word is the parent's digest."""

    def __init__(self, seed, parent):
        self.v = [seed[0] ^ 0x736f6d6570736575, seed[1] ^ 0x646f72616e646f6d,
                  seed[0] ^ 0x6c7967656e657261, seed[1] ^ 0x7465646279746573]
        self.word(parent)

    def round(self):
        a, b, c, d = self.v
        a = (a + b) & MASK
        b = _rotate(b, 13) ^ a
        a = _rotate(a, 32)
        c = (c + d) & MASK
        d = _rotate(d, 16) ^ c
        a = (a + d) & MASK
        d = _rotate(d, 21) ^ a
        c = (c + b) & MASK
        b = _rotate(b, 17) ^ c
        self.v = [a, b, _rotate(c, 32), d]

    def word(self, word):
        self.v[3] ^= word
        self.round()
        self.round()
        self.v[0] ^= word


def digest(seed, parent, name):
    """Of a name that goes on from a parent's digest."""
    data = name.encode()
    sip = SipHash(seed, parent)
    for word, in struct.iter_unpack("=Q", data.ljust(-(-len(data) // 8) * 8, b"\0")):
        sip.word(word)
    sip.word((len(data) << 56 | 8) & MASK)
    sip.v[2] ^= 0xff
    for _ in range(4):
        sip.round()
    return (sip.v[0] ^ sip.v[1] ^ sip.v[2] ^ sip.v[3]) or 1


def seed_of(host):
    return dump(host, "attachment")[0]["value"]["digest_seed"]


def cgroup_digests(seed, path):
    """Digests of the levels, the unit's and its level."""
    levels, unit, unit_level, parent = [0] * LEVELS, 0, 0, 0
    for level, name in enumerate(filter(None, path.split("/"))):
        if level == LEVELS:
            break
        parent = levels[level] = digest(seed, parent, name)
        if not unit and not (name.endswith(".slice") and name != ".slice"):
            unit, unit_level = digest(seed, DIGEST_UNIT, name), level + 1
    return tuple(levels), unit, unit_level


def exe_digest(seed, path):
    """Of a file that is not below a bind mount."""
    mount = os.path.dirname(path)       # overlayfs gives files another device than directories
    while not os.path.ismount(mount):
        mount = os.path.dirname(mount)
    device = os.stat(mount).st_dev
    value = os.major(device) << 20 | os.minor(device) | DIGEST_FILE
    for name in reversed(os.path.relpath(path, mount).split("/")):
        value = digest(seed, value, name)
    return value


# ---- one host that is attached ------------------------------------------------------------------

def trusted(name, cgroup, **more):
    """An application that may speak to everybody in the clear."""
    return {"name": name, "match": {"cgroup": cgroup},
            "networks": [{"remote": "any", "class": "trusted"}], **more}


def document(*applications, **more):
    """Everything passes; applications are only told apart."""
    return net.policy([{"name": "all", "action": "bypass"}], applications=list(applications), **more)


class Scene(Cast):
    """Host a is attached when attach() is called; its application is whatever runs in the cgroup `app`."""

    def attach(self, policy):
        self.a.ipsecbpf("attach", net.IFNAME, "--cgroup", self.cgroup.top, "--policy", "-",
                        input=json.dumps(policy))

    def policy(self):
        return document(trusted("app", self.cgroup.path("app"), max_flows=FLOWS_MAX))

    def actor(self, where="app", host=None, **more):
        return super().actor(host or self.a, where, **more)

    def who(self, actor, name="s"):
        """What is noted of an actor's socket."""
        fd = actor.fd(name)
        try:
            return noted(self.a, fd)
        finally:
            os.close(fd)

    def endpoints(self):
        """(protocol, family, address, port) -> sockets."""
        return {(key["proto"], key["family"], _address(key["local"], key["family"]),
                 socket.ntohs(key["port"])): entry["value"]["sockets"]
                for entry in dump(self.a, "app_endpoints") for key in [entry["key"]]}

    def flows(self, name="app_flows"):
        """Local and remote port -> the flow."""
        return {(socket.ntohs(entry["key"]["local_port"]), socket.ntohs(entry["key"]["remote_port"])):
                entry["value"] for entry in dump(self.a, name)}

    @contextlib.contextmanager
    def one_test(self):
        """Nothing is left of it in the maps when it ends."""
        yield self
        self.end()
        self.nothing_noted(self.a)


def _address(local, family):
    raw = bytes(local["b"])
    return socket.inet_ntop(socket.AF_INET, raw[:4]) if family == V4 else \
        socket.inet_ntop(socket.AF_INET6, raw)


@contextlib.contextmanager
def scene():
    """Not attached yet."""
    with net.Topology(middle=False) as topology:
        made = Scene(topology)
        try:
            yield made
        finally:
            made.close()
