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
import ctypes
import json
import os
import re
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
BUILD = os.path.abspath(os.environ.get("B") or os.path.join(HERE, "..", "..", "build"))
IPSECBPF = os.path.join(BUILD, "ipsecbpf")
WIRECOUNT = os.path.join(BUILD, "wirecount")

PIN_ROOT = "/sys/fs/bpf/ipsecbpf"
RUN_ROOT = "/run/ipsecbpf"
STATE_ROOT = "/var/lib/ipsecbpf"
IFNAME = "eth0"
PREFIX = "ibpf"		# of all namespaces: PREFIX-PID-NUMBER-NAME

SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING = 263, 8, 23
SO_RCVBUFFORCE = 33
CLONE_NEWNET = 0x40000000
ETH_P_ALL = 3
VLAN_VALID = 1 << 4		# TP_STATUS_VLAN_VALID


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


# ---- raw frames ---------------------------------------------------------------------------------

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

	def __init__(self, ports):
		self.ports = ports
		self.frames = []		# (port name, frame)
		self.changed = threading.Condition()
		self.threads = [threading.Thread(target=self._listen, args=(port,), daemon=True)
				for port in ports]
		self.stopping = False
		for thread in self.threads:
			thread.start()

	def _listen(self, port):
		port.socket.settimeout(0.1)
		while not self.stopping:
			try:
				frame = port.receive()
			except socket.timeout:
				continue
			except OSError:
				return
			with self.changed:
				self.frames.append((port.ifname, frame))
				self.changed.notify_all()

	def clear(self):
		with self.changed:
			self.frames.clear()

	def taken(self, port=None):
		"""Frames so far, optionally those that one host sent."""
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
	"""What wirecount calls the frame: esp, arp, nd, clear or non_ip."""
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
	return "nd" if upper == 58 and 133 <= frame[at] <= 137 else "clear"


# ---- hosts --------------------------------------------------------------------------------------

class Host:
	"""One host: namespaces, an interface eth0, and the processes started in it."""

	def __init__(self, topology, name, addresses):
		self.topology = topology
		self.name = name
		self.addresses = addresses
		self.netns = f"{topology.tag}-{name}"
		self.holder = None
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
		self.sysctl("net.ipv6.conf.all.accept_dad", 0)
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
		return os.path.isdir(os.path.join(PIN_ROOT, self.key)) or any(
			self.key in name for name in _listdir(RUN_ROOT))

	def cleanup(self):
		"""Detaches, ends all processes, removes pins, sockets and namespaces. Never raises."""
		if self.holder and self.holder.poll() is None and self.attached():
			_quietly(self.ipsecbpf, "detach", IFNAME, "--open", check=False, timeout=20)
		self._end_processes()
		shutil.rmtree(os.path.join(PIN_ROOT, self.key), ignore_errors=True)
		for name in _listdir(RUN_ROOT):
			if self.key in name:
				_quietly(os.unlink, os.path.join(RUN_ROOT, name))
		_quietly(run_command, ["ip", "netns", "del", self.netns], check=False)

	def _end_processes(self):
		for pid in self.pids():
			_quietly(os.kill, pid, signal.SIGKILL)
		if self.holder:
			self.holder.kill()
			self.holder.wait()
			self.holder.stdout.close()
		_quietly(wait_until, lambda: not self.pids(), f"end of {self.name}'s processes", 5)


def _listdir(path):
	try:
		return os.listdir(path)
	except OSError:
		return []


def _quietly(function, *arguments, **options):
	try:
		function(*arguments, **options)
	except Exception:	# clean-up goes on whatever happens
		pass


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
		self.made_dirs = []
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
		for path in (STATE_ROOT,):
			if not os.path.isdir(path):
				os.makedirs(path, mode=0o700)
				self.made_dirs.append(path)
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
		"""Removes everything. Safe to call twice and after a failed construction."""
		if self not in Topology.live:
			return
		Topology.live.remove(self)
		for closer in reversed(self.closers):
			_quietly(closer)
		for process in self.processes:
			_end(process)
		for host in self.hosts:
			host.cleanup()
		if self.wire:
			for pid in run_command(["ip", "netns", "pids", self.wire], check=False).stdout.split():
				_quietly(os.kill, int(pid), signal.SIGKILL)
			_quietly(run_command, ["ip", "netns", "del", self.wire], check=False)
		if self.directory:
			shutil.rmtree(self.directory, ignore_errors=True)
		for path in self.made_dirs + [PIN_ROOT, RUN_ROOT]:
			_quietly(os.rmdir, path)	# only if nobody else uses it

	def residue(self):
		"""What is left of this run on the machine (call after close()): should be empty."""
		left = [f"namespace {name}" for name in _listdir("/run/netns")
			if name.startswith(self.tag + "-")]
		for host in self.hosts:
			left += [f"{root}/{name}" for root in (PIN_ROOT, RUN_ROOT)
				 for name in _listdir(root) if host.key in name]
		for pid in filter(str.isdigit, _listdir("/proc")):
			try:
				inode = os.stat(f"/proc/{pid}/ns/net").st_ino
			except OSError:
				continue
			left += [f"process {pid} of host {host.name}" for host in self.hosts
				 if inode == host.inode]
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


def sweep():
	"""Removes what runs that were killed have left: their process is gone, their namespaces are not."""
	for name in _listdir("/run/netns"):
		match = re.fullmatch(rf"{PREFIX}-(\d+)-\d+-\w+", name)
		if not match or os.path.exists(f"/proc/{match[1]}"):
			continue
		key = f"{IFNAME}@{os.stat(netns_path(name)).st_ino}"
		for pid in run_command(["ip", "netns", "pids", name], check=False).stdout.split():
			_quietly(os.kill, int(pid), signal.SIGKILL)
		shutil.rmtree(os.path.join(PIN_ROOT, key), ignore_errors=True)
		for entry in _listdir(RUN_ROOT):
			if key in entry:
				_quietly(os.unlink, os.path.join(RUN_ROOT, entry))
		_quietly(run_command, ["ip", "netns", "del", name], check=False)


def close_all():
	for topology in list(Topology.live):
		topology.close()


def exit_on_signals():
	"""SIGTERM and SIGHUP end the program through its clean-up, as SIGINT does anyway."""
	def leave(number, _):
		raise SystemExit(128 + number)
	for number in (signal.SIGTERM, signal.SIGHUP):
		signal.signal(number, leave)


atexit.register(close_all)


# ---- policies and SAs ---------------------------------------------------------------------------

# Octets of cipher key with salt, and of MAC key.
KEY_OCTETS = {
	"aes128gcm16": (20, 0), "aes192gcm16": (28, 0), "aes256gcm16": (36, 0),
	"chacha20poly1305": (36, 0),
	"aes128-sha256": (16, 32), "aes192-sha256": (24, 32), "aes256-sha256": (32, 32),
	"null-sha256": (0, 32),
}
SUITES = list(KEY_OCTETS)
COUNTER_MODE = SUITES[:4]


def new_sa(src, dst, spi, suite="aes128gcm16", protection="wire", **more):
	"""One SA for a file, with random keys."""
	key, mac = KEY_OCTETS[suite]
	sa = {"src": src, "dst": dst, "spi": spi, "proto": "esp", "suite": suite,
	      "protection": protection, **more}
	if key:
		sa["key"] = secrets.token_hex(key)
	if mac:
		sa["auth_key"] = secrets.token_hex(mac)
	return sa


def sa_file(*sas):
	return {"version": 1, "sas": list(sas)}


def both_ways(a, b, spi=0x1000, families=(4, 6), **more):
	"""SAs in both directions and families between two hosts."""
	return sa_file(*[new_sa(x.address(family), y.address(family), spi + 16 * family + i, **more)
			 for family in families for i, (x, y) in enumerate(((a, b), (b, a)))])


def policy(rules, peers=None, protections=None, **more):
	"""A policy document; everything that no rule names is discarded."""
	document = {"version": 1, "bypass_essential": ["arp", "nd", "dhcp", "ike"],
		    "defaults": {"in": "discard", "out": "discard", "non_ip": "discard"}}
	document.update(more)
	if protections:
		document["protections"] = protections
	if peers:
		document["peers"] = {name: {"addresses": addresses}
				     for name, addresses in peers.items()}
	document["rules"] = rules
	return document


def protection_of(suite="aes128gcm16", mode="transport"):
	kind_ = "authentication" if suite.startswith("null") else "encryption"
	return {"type": kind_, "mode": mode, "suites": [suite]}


def protect_all(peer, suite="aes128gcm16", mode="transport", **more):
	"""Everything between this host and `peer` is protected, all else discarded."""
	rule = {"name": "everything", "action": "protect", "peer": "peer", "protection": "wire"}
	if mode == "tunnel":
		rule["remote"] = [peer.address(4), peer.address(6)]
	return policy([rule], {"peer": [peer.address(4), peer.address(6)]},
		      {"wire": protection_of(suite, mode)}, **more)
