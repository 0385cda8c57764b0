# SPDX-License-Identifier: BSD-2-Clause
"""Hosts in network namespaces, with an eavesdropper on the wire between them.

        host a  eth0 ---- a [ namespace "wire": bridge, capture ] b ---- eth0  host b

The capture sits in a third namespace because native XDP on a receiver and AF_XDP transmission on a
sender both bypass packet sockets on the hosts' own interfaces. Nothing is ever created in, or
attached to, the namespace that the tests are started from.

Each host has its own mount namespace with its own /var/lib/ipsecbpf, as a host of its own would
have; bpffs and /run are the machine's, where attachments in namespaces are told apart by
"eth0@INODE".
"""
import atexit
import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
# Tests write net.NAME for all of these.
from documents import COUNTER_MODE, MACS, SUITES, USUAL_SUITES, both_ways, new_sa, policy, protect_all, \
    protection_of, sa_file  # noqa: E402,F401
from wire import Capture, Failure, InNetns, Port, ethertype, kind, netns_path, run_command, \
    wait_until  # noqa: E402,F401

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(os.environ.get("B") or os.path.join(HERE, "..", "..", "build"))
IPSECBPF = os.path.join(BUILD, "ipsecbpf")
WIRECOUNT = os.path.join(BUILD, "wirecount")

PIN_ROOT = "/sys/fs/bpf/ipsecbpf"
RUN_ROOT = "/run/ipsecbpf"
STATE_ROOT = "/var/lib/ipsecbpf"
IFNAME = "eth0"
PREFIX = "ibpf"         # of all namespaces: PREFIX-PID-NUMBER-NAME


# ---- hosts --------------------------------------------------------------------------------------

class Host:
    """One host: namespaces, an interface eth0, and the processes started in it."""

    def __init__(self, topology, name, addresses):
        self.topology = topology
        self.name = name
        self.addresses = addresses
        self.netns = f"{topology.tag}-{name}"
        self.holder = None
        self.left = []
        self.mac = None
        run_command(["ip", "netns", "add", self.netns])
        self.inode = os.stat(netns_path(self.netns)).st_ino
        self.key = f"{IFNAME}@{self.inode}"

    def start(self):
        """The process that keeps the mount namespace."""
        script = (f"mount -t tmpfs -o mode=700 ipsecbpf-test {STATE_ROOT} && "
                  "if [ -d /etc/ipsecbpf ]; then mount -t tmpfs ipsecbpf-test /etc/ipsecbpf; fi && "
                  "echo ready && exec sleep infinity")
        self.holder = subprocess.Popen(
                ["nsenter", f"--net={netns_path(self.netns)}", "unshare", "--mount",
                 "--propagation", "slave", "sh", "-c", script],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        if self.holder.stdout.readline() != "ready\n":
            raise Failure(f"host {self.name}: no mount namespace of its own")

    def configure(self):
        """Addresses, after the interface has come into being."""
        for interfaces in ("all", "default", IFNAME):   # an interface's own says as much as all's
            self.sysctl(f"net.ipv6.conf.{interfaces}.accept_dad", 0)
        for address in self.addresses:
            nodad = ["nodad"] if ":" in address else []
            self.ip("addr", "add", address, "dev", IFNAME, *nodad)
        self.ip("link", "set", "lo", "up")
        self.ip("link", "set", IFNAME, "up")
        link = json.loads(self.ip("-j", "link", "show", "dev", IFNAME).stdout)
        self.mac = link[0]["address"]

    def address(self, family=4):
        """Without the prefix length."""
        for address in self.addresses:
            if (":" in address) == (family == 6):
                return address.split("/")[0]
        raise Failure(f"host {self.name} has no IPv{family} address")

    def enter(self):
        """The command prefix that runs a program on this host."""
        return ["nsenter", f"--net={netns_path(self.netns)}",
                f"--mount=/proc/{self.holder.pid}/ns/mnt"]

    def run(self, *argv, **options):
        return run_command(self.enter() + list(map(str, argv)), **options)

    def ip(self, *argv):
        return run_command(["ip", "-n", self.netns] + list(map(str, argv)))

    def sysctl(self, name, value):
        path = "/proc/sys/" + name.replace(".", "/")
        self.run("sh", "-c", f"echo {value} > {path}")

    def spawn(self, *argv, **options):
        """A process of this host that close() ends. Output: a pipe unless options say else."""
        options.setdefault("stdin", subprocess.DEVNULL)
        options.setdefault("stdout", subprocess.PIPE)
        options.setdefault("stderr", subprocess.STDOUT)
        process = subprocess.Popen(self.enter() + list(map(str, argv)), text=True, **options)
        self.topology.processes.append(process)
        return process

    def neighbour(self, address, mac):
        self.ip("neigh", "replace", address, "lladdr", mac, "dev", IFNAME, "nud", "permanent")

    def socket(self, family, kind):
        with InNetns(netns_path(self.netns)):
            return socket.socket(family, kind)

    # ---- ipsecbpf on this host

    def ipsecbpf(self, *argv, check=True, input=None, timeout=30):
        return self.run(IPSECBPF, *argv, check=check, input=input, timeout=timeout)

    def json(self, *argv):
        return json.loads(self.ipsecbpf("-j", *argv).stdout)

    def status(self):
        return self.json("status", IFNAME)["attachments"][0]

    def passed(self, counter):
        return self.json("stats", IFNAME)["passed"][counter]

    def drops(self, reason=None):
        """Dropped packets by reason, or the number for one."""
        dropped = self.json("stats", IFNAME)["dropped"]
        return dropped if reason is None else dropped[reason]

    def wait_drop(self, reason, before, count=1, timeout=5.0):
        """Until the counter has risen by `count`; a failure names what has risen instead."""
        try:
            return wait_until(lambda: self.drops(reason) >= before + count,
                              f"host {self.name}: drop counter {reason} + {count}", timeout)
        except Failure as error:
            raise Failure(f"{error}; now {self.drops()}") from None

    def worker_pid(self):
        return self.status()["worker_pid"] or 0

    def pids(self):
        """Processes in this host's network namespace, the holder included."""
        return [int(pid) for pid in
                run_command(["ip", "netns", "pids", self.netns], check=False).stdout.split()]

    def attached(self):
        return os.path.isdir(os.path.join(PIN_ROOT, self.key)) or \
            os.path.exists(os.path.join(RUN_ROOT, self.key + ".sock"))

    def cleanup(self):
        """Detaches, ends all processes, removes pins, sockets and namespaces. Never raises."""
        if self.holder and self.holder.poll() is None and self.attached():
            _quietly(self.ipsecbpf, "detach", IFNAME, "--open", check=False, timeout=20)
        self._end_processes()
        shutil.rmtree(os.path.join(PIN_ROOT, self.key), ignore_errors=True)
        for name in _listdir(RUN_ROOT):
            if self.key in name:
                _quietly(os.unlink, os.path.join(RUN_ROOT, name))
        self.left = self.remains()  # not to be asked later: the next namespace may get the inode
        _quietly(run_command, ["ip", "netns", "del", self.netns], check=False)

    def remains(self):
        """What there is of this host but for the namespace itself."""
        return [f"process {pid} of host {self.name}" for pid in self.pids()] + \
            [f"{root}/{name}" for root in (PIN_ROOT, RUN_ROOT)
             for name in _listdir(root) if self.key in name]

    def _end_processes(self):
        def none_left():
            pids = self.pids()
            for pid in pids:        # again and again: one may have started another meanwhile
                _quietly(os.kill, pid, signal.SIGKILL)
            return not pids
        _quietly(wait_until, none_left, f"end of {self.name}'s processes", 5)
        if self.holder:
            self.holder.kill()
            self.holder.wait()
            self.holder.stdout.close()


def _listdir(path):
    try:
        return os.listdir(path) if path else []
    except OSError:
        return []


def _quietly(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except Exception:       # clean-up goes on whatever happens
        pass


@contextlib.contextmanager
def stopped(pid, host):
    """The process stands still inside the `with` block."""
    os.kill(pid, signal.SIGSTOP)
    try:
        wait_until(lambda: _process_state(pid) in "Tt", f"process {pid} of {host.name} stands still")
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def _process_state(pid):
    with open(f"/proc/{pid}/stat") as file:
        return file.read().rpartition(")")[2].split()[0]


def processes_in(inodes):
    """The processes in network namespaces, by inode numbers of those."""
    found, inodes = [], set(inodes)
    for pid in filter(str.isdigit, _listdir("/proc")):
        try:
            if os.stat(f"/proc/{pid}/ns/net").st_ino in inodes:
                found.append(int(pid))
        except OSError:
            pass
    return found


def netlink_drops(host, pid):
    """How many messages the kernel could not give to the netlink sockets of a process."""
    inodes = set()
    for fd in _listdir(f"/proc/{pid}/fd"):
        found = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(f"/proc/{pid}/fd/{fd}"))
        inodes |= {found.group(1)} if found else set()
    lines = host.run("cat", "/proc/net/netlink").stdout.splitlines()
    column = {name: number for number, name in enumerate(lines[0].split())}
    return sum(int(line.split()[column["Drops"]]) for line in lines[1:]
               if line.split()[column["Inode"]] in inodes)


# ---- topology -----------------------------------------------------------------------------------

class Topology:
    """Hosts on one wire. hosts: names; the n-th has 10.9.0.n/24 and fd00:9::n/64.

    middle=False joins two hosts directly (no capture possible). base: where the run's files go.
    Use as a context manager, or call close(); at exit of the interpreter whatever is left is
    closed.
    """

    count = 0
    live = []

    def __init__(self, hosts=("a", "b"), middle=True, mtu=1500, base=None):
        Topology.count += 1
        self.tag = f"{PREFIX}-{os.getpid()}-{Topology.count}"
        self.wire = f"{self.tag}-wire" if middle else None
        self.hosts = []
        self.processes = []
        self.closers = []
        self.base = base
        self.directory = None
        Topology.live.append(self)
        try:
            self._build(hosts, mtu)
        except BaseException:
            self.close()
            raise

    def _build(self, names, mtu):
        self.directory = tempfile.mkdtemp(prefix=f"{self.tag}-", dir=self.base)
        make_roots()
        if self.wire:
            self._build_wire()
        for number, name in enumerate(names, 1):
            host = Host(self, name, [f"10.9.0.{number}/24", f"fd00:9::{number}/64"])
            self.hosts.append(host)
            setattr(self, name, host)
            host.start()
        self._build_links(mtu)
        for host in self.hosts:
            host.configure()
        for host in self.hosts:
            self._wait_for_link(host)

    def _build_wire(self):
        run_command(["ip", "netns", "add", self.wire])
        # The eavesdropper is silent: no IPv6 of its own, no multicast queries.
        self.wire_run("sh", "-c", "echo 1 > /proc/sys/net/ipv6/conf/all/disable_ipv6;"
                      "echo 1 > /proc/sys/net/ipv6/conf/default/disable_ipv6")
        run_command(["ip", "-n", self.wire, "link", "add", "bridge", "type", "bridge",
                     "stp_state", "0", "mcast_snooping", "0"])
        run_command(["ip", "-n", self.wire, "link", "set", "bridge", "up"])

    def _build_links(self, mtu):
        if not self.wire:
            a, b = self.hosts
            run_command(["ip", "link", "add", IFNAME, "netns", a.netns, "mtu", str(mtu),
                         "type", "veth", "peer", "name", IFNAME, "netns", b.netns,
                         "mtu", str(mtu)])
            return
        for host in self.hosts:
            run_command(["ip", "link", "add", IFNAME, "netns", host.netns,
                         "mtu", str(mtu), "type", "veth", "peer", "name", host.name,
                         "netns", self.wire, "mtu", str(mtu)])
            run_command(["ip", "-n", self.wire, "link", "set", "dev", host.name, "master",
                         "bridge", "up"])

    def _wait_for_link(self, host):
        def running():
            link = json.loads(host.ip("-j", "link", "show", "dev", IFNAME).stdout)[0]
            return link["operstate"] == "UP"
        wait_until(running, f"host {host.name}: link")
        if self.wire:
            wait_until(lambda: "state forwarding" in run_command(
                    ["bridge", "-n", self.wire, "link", "show", "dev", host.name]).stdout,
                    f"host {host.name}: bridge port")

    def wire_run(self, *argv, **options):
        return run_command(["nsenter", f"--net={netns_path(self.wire)}"] + list(map(str, argv)),
                           **options)

    def port(self, host):
        port = Port(self.wire, host.name)
        self.closers.append(port.close)
        return port

    def capture(self):
        capture = Capture([self.port(host) for host in self.hosts])
        self.closers.append(capture.close)
        return capture

    def wirecount(self, *options):
        return WireCount(self, options)

    def port_packets(self):
        """What the kernel itself counted into the wire, by host: a check on every capture."""
        links = json.loads(run_command(["ip", "-n", self.wire, "-j", "-s", "link"]).stdout)
        return {link["ifname"]: link["stats64"]["rx"]["packets"] for link in links
                if link["ifname"] in [host.name for host in self.hosts]}

    def path(self, name):
        return os.path.join(self.directory, name)

    def write(self, name, content, mode=0o644):
        """A file of this run; content: text, or an object that becomes JSON."""
        if not isinstance(content, str):
            content = json.dumps(content, indent=2) + "\n"
        path = self.path(name)
        with open(path, "w", opener=lambda p, f: os.open(p, f, mode)) as file:
            file.write(content)
        os.chmod(path, mode)
        return path

    def close(self):
        """Removes everything. Safe to call twice, after a failed construction, and once more if it
        was interrupted."""
        if self not in Topology.live:
            return
        for closer in reversed(self.closers):
            _quietly(closer)
        for process in self.processes:
            _end(process)
        for host in self.hosts:
            host.cleanup()
        for name in _listdir("/run/netns"):     # the wire, and what is not in self.hosts yet
            if name.startswith(self.tag + "-"):
                remove_namespace(name)
        if self.directory:
            shutil.rmtree(self.directory, ignore_errors=True)
        Topology.live.remove(self)

    def residue(self):
        """What is left of this run on the machine (call after close()): should be empty."""
        left = [f"namespace {name}" for name in _listdir("/run/netns")
                if name.startswith(self.tag + "-")]
        for host in self.hosts:
            left += host.remains() if self in Topology.live else host.left
        if self.directory and os.path.exists(self.directory):
            left.append(self.directory)
        return left

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class WireCount:
    """A running wirecount on all ports. stop() returns its result, with "kernel": the least and
    the most packets that the ports' own counters allow, as they cannot be read at one instant."""

    def __init__(self, topology, options):
        self.topology = topology
        early = self._counted()
        self.process = subprocess.Popen(
                ["nsenter", f"--net={netns_path(topology.wire)}", WIRECOUNT,
                 *map(str, options), *[host.name for host in topology.hosts]],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        topology.processes.append(self.process)
        if self.process.stdout.readline() != "ready\n":
            raise Failure("wirecount did not start")
        self.started = early, self._counted()

    def _counted(self):
        return sum(self.topology.port_packets().values())

    def stop(self):
        stopping = self._counted()
        self.process.send_signal(signal.SIGUSR1)
        output, _ = self.process.communicate(timeout=60)
        if self.process.returncode:
            raise Failure(f"wirecount: exit {self.process.returncode}")
        result = json.loads(output)
        early, late = self.started
        result["kernel"] = [stopping - late, self._counted() - early]
        return result


def _end(process):
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(3)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
    for stream in (process.stdin, process.stdout, process.stderr):
        if stream:
            _quietly(stream.close)


def remove_namespace(name):
    """With its processes and what is pinned for its interface. Never raises."""
    try:
        key = f"{IFNAME}@{os.stat(netns_path(name)).st_ino}"
    except OSError:
        return
    for pid in run_command(["ip", "netns", "pids", name], check=False).stdout.split():
        _quietly(os.kill, int(pid), signal.SIGKILL)
    shutil.rmtree(os.path.join(PIN_ROOT, key), ignore_errors=True)
    for entry in _listdir(RUN_ROOT):
        if key in entry:
            _quietly(os.unlink, os.path.join(RUN_ROOT, entry))
    _quietly(run_command, ["ip", "netns", "del", name], check=False)


def sweep():
    """Removes what killed runs have left: namespaces, directories and cgroups whose process is gone."""
    made = re.compile(rf"(?:ipsecbpf-test|(?:ipsecbpf-test-)?{PREFIX})-(\d+)-\d+(?:[-.]|$)")
    for where, remove in (("/run/netns", remove_namespace),
                          (tempfile.gettempdir(), _remove_directory),
                          (cgroup_root(), _remove_cgroup)):
        for name in _listdir(where):
            match = made.match(name)
            if match and not os.path.exists(f"/proc/{match[1]}"):
                remove(name)


def cgroup_root():
    """Where cgroup2 is mounted, its own root at the top; None: nowhere."""
    with open("/proc/self/mountinfo") as file:
        for line in file:
            fields, kind = line.split(" - ")
            if kind.split()[0] == "cgroup2" and fields.split()[3] == "/":
                return fields.split()[4]


def _remove_cgroup(name):
    for path, _, _ in os.walk(os.path.join(cgroup_root(), name), topdown=False):
        _quietly(os.rmdir, path)


def _remove_directory(name):
    shutil.rmtree(os.path.join(tempfile.gettempdir(), name), ignore_errors=True)


made_roots = []


def make_roots():
    """Directories of the machine that hosts need, all of them the same ones."""
    if not os.path.isdir(STATE_ROOT):
        os.makedirs(STATE_ROOT, mode=0o700)
        made_roots.append(STATE_ROOT)


def remove_roots():
    """At the end, not before: another process could be about to make a host's directory in one."""
    for path in made_roots + [PIN_ROOT, RUN_ROOT]:
        _quietly(os.rmdir, path)        # only if nobody else uses it


def close_all():
    for topology in list(Topology.live):
        topology.close()


def exit_on_signals():
    """SIGTERM and SIGHUP end the program through its clean-up, as SIGINT does anyway."""
    def leave(number, _):
        raise SystemExit(128 + number)
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, leave)


atexit.register(remove_roots)
atexit.register(close_all)      # goes first
