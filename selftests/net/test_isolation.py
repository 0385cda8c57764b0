# SPDX-License-Identifier: BSD-2-Clause
"""What the worker can reach, what capabilities are left, and where keys are and are not."""
import json
import os
import re
import struct

import pytest

import topology as net

BPF_MAP = "anon_inode:bpf-map"
PAGE = os.sysconf("SC_PAGESIZE")
STATE_SIZE, SLOTS = 704, 1025           # struct sa_state; 1024 SAs unless asked otherwise, slot 0 is none
with open(os.path.join(net.HERE, "..", "..", "bpf", "abi.h")) as header:
    ABI_VERSION = int(re.search(r"#define IPSECBPF_ABI_VERSION (\d+)", header.read()).group(1))
CONTROL_HEAD = struct.pack("=II", ABI_VERSION, 1)       # struct control; 1: ATTACH_RUNNING
OUT_SA_SIZE = 4096 * 2 * 8               # PROTECT_MAX (peer, protection) pairs in two families

# capabilities(7), by number
SUPERVISOR_CAPS = {"kill": 5, "setgid": 6, "setuid": 7, "setpcap": 8, "net_admin": 12,
                   "net_raw": 13, "ipc_lock": 14, "bpf": 39}


def pids(host):
    status = host.status()
    return status["supervisor_pid"], status["worker_pid"]


def status_of(pid):
    with open(f"/proc/{pid}/status") as file:
        return dict(line.rstrip("\n").split(":\t", 1) for line in file if ":\t" in line)


class Area:
    """One mapping of a process."""

    def __init__(self, line):
        span, self.mode, _, _, _, *name = line.split(None, 5)
        self.start, self.end = (int(part, 16) for part in span.split("-"))
        self.name = name[0].strip() if name else ""
        self.flags = []

    @property
    def size(self):
        return self.end - self.start


def areas(pid):
    found = []
    with open(f"/proc/{pid}/smaps") as file:
        for line in file:
            if re.match(r"[0-9a-f]+-[0-9a-f]+ ", line):
                found.append(Area(line))
            elif line.startswith("VmFlags:"):
                found[-1].flags = line.split()[1:]
    return found


def read_area(memory, area):
    """Without the pages that cannot be read (vvar, rings of a socket)."""
    parts, at = [], area.start
    while at < area.end:
        try:
            parts.append(os.pread(memory.fileno(), area.end - at, at))
        except (OSError, OverflowError):
            parts.append(b"")
        at += len(parts[-1]) or PAGE
    return b"".join(parts)


def descriptors(pid):
    return {int(fd): os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}


# ---- the worker ---------------------------------------------------------------------------------

def assert_maps(pid):
    """Of all BPF maps only sa_state, worker_stats and, to read, out_sa: control would let it switch
    policy off."""
    maps = [area for area in areas(pid) if area.name == BPF_MAP]
    states = (SLOTS * STATE_SIZE + PAGE - 1) // PAGE * PAGE
    assert sorted((area.size, area.mode[:2]) for area in maps) == \
        [(PAGE, "rw"), (OUT_SA_SIZE, "r-"), (states, "rw")], \
        [(area.name, area.size, area.mode) for area in maps]
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        stats = read_area(memory, min(maps, key=lambda area: area.size))
    assert len(stats) == PAGE and not stats.startswith(CONTROL_HEAD)


def test_the_supervisor_has_control_where_the_worker_must_not(pair):
    """The probe of assert_maps() recognises control where it is."""
    supervisor, _ = pids(pair.a)
    heads = set()
    with open(f"/proc/{supervisor}/mem", "rb", buffering=0) as memory:
        for area in areas(supervisor):
            if area.name == BPF_MAP and area.size == PAGE:
                heads.add(read_area(memory, area)[:8])
    assert CONTROL_HEAD in heads


def test_the_worker_maps_only_what_it_writes(pair):
    _, worker = pids(pair.a)
    assert_maps(worker)
    os.kill(worker, 9)
    net.wait_until(lambda: pair.a.worker_pid() not in (0, worker), "another worker", 10)
    assert_maps(pair.a.worker_pid())


def test_the_worker_holds_no_map_and_no_record(pair):
    _, worker = pids(pair.a)
    held = descriptors(worker)
    assert not [name for name in held.values() if "bpf" in name or "/var" in name or "/run" in name]
    for fd in held:
        with open(f"/proc/{worker}/fdinfo/{fd}") as file:
            assert not re.search(r"^(map|prog|link)_type:", file.read(), re.M), f"fd {fd}"
    # its messages, the numbers wanted, the host port, one queue; 0, 1 and 2 are /dev/null
    assert len([fd for fd in held if fd > 2]) == 4, held
    assert {name for fd, name in held.items() if fd <= 2} == {"/dev/null"}


def test_the_worker_has_no_privilege(pair):
    supervisor, worker = pids(pair.a)
    status = status_of(worker)
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, name
    assert status["NoNewPrivs"] == "1" and status["Seccomp"] == "2"
    for name in ("Uid", "Gid"):
        ids = set(map(int, status[name].split()))
        assert len(ids) == 1 and not ids & {0, 65534}, f"{name} {ids}"
    assert status["Groups"].split() == []
    # not dumpable: its files in /proc are root's, not its own
    assert os.stat(f"/proc/{worker}/mem").st_uid == 0
    assert os.stat(f"/proc/{supervisor}/mem").st_uid == 0


def test_the_worker_has_no_memory_to_write_code_into(pair):
    _, worker = pids(pair.a)
    assert not [area.name for area in areas(worker) if "w" in area.mode and "x" in area.mode]


def test_the_supervisor_has_few_capabilities(pair):
    supervisor, _ = pids(pair.a)
    status = status_of(supervisor)
    few = sum(1 << number for number in SUPERVISOR_CAPS.values())
    assert {int(status[name], 16) for name in ("CapEff", "CapPrm", "CapBnd")} == {few}
    assert int(status["CapInh"], 16) == 0 and int(status["CapAmb"], 16) == 0
    assert status["NoNewPrivs"] == "1"


# ---- keys ---------------------------------------------------------------------------------------

def needles(path):
    """Every key of an SA file: its octets, and its text in either case."""
    with open(path) as file:
        document = json.load(file)
    found = []
    for sa in document["sas"]:
        for text in (sa.get("key"), sa.get("auth_key")):
            if text:
                # without the salt, and half of a long key is bad enough
                octets = bytes.fromhex(text)[:16]
                found += [octets, octets.hex().encode(), octets.hex().upper().encode()]
    return found


def places(pid, keys):
    """The areas of a process in which a key is."""
    found = []
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for area in areas(pid):
            if "r" not in area.mode:
                continue
            content = read_area(memory, area)
            if any(key in content for key in keys):
                found.append(area)
    return found


def names(found):
    return [f"{area.name or hex(area.start)} {area.flags}" for area in found]


suites = pytest.mark.parametrize("suite", ("aes128gcm16", "chacha20poly1305", "aes256-sha256"))


@suites
@pytest.mark.parametrize("how", ("attach", "apply"))
def test_keys_are_in_the_locked_table_only(product, wire, suite, how):
    a, b = wire.a, wire.b
    sas = wire.write("sa.json", net.both_ways(a, b, suite=suite), mode=0o600)
    policy = wire.write("policy.json", net.protect_all(b, suite))
    keys = needles(sas)
    if how == "attach":
        a.ipsecbpf("attach", net.IFNAME, "--policy", policy, "--sa", sas, "--fresh")
    else:
        a.ipsecbpf("attach", net.IFNAME, "--policy", policy)
        a.ipsecbpf("sa", "apply", net.IFNAME, sas, "--fresh")
    a.run("ping", "-c1", "-W1", b.address(4), check=False)      # b cannot answer; a seals
    supervisor, worker = pids(a)
    found = places(supervisor, keys)
    assert len(found) == 1, names(found)
    # locked, not dumped, not inherited
    assert {"lo", "dd", "wf"} <= set(found[0].flags) and found[0].name == ""
    text = [key for key in keys if len(key) > 16]
    assert not places(worker, text), "the worker never had the text"
    a.ipsecbpf("sa", "flush", net.IFNAME)
    for pid in (supervisor, worker):
        assert names(places(pid, keys)) == [], f"process {pid} after flush"
    assert pids(a) == (supervisor, worker)


@suites
def test_a_new_worker_inherits_no_key(product, wire, suite):
    """It is told each key anew, and forgets them with the SAs."""
    a, b = wire.a, wire.b
    sas = wire.write("sa.json", net.both_ways(a, b, suite=suite), mode=0o600)
    policy = wire.write("policy.json", net.protect_all(b, suite))
    a.ipsecbpf("attach", net.IFNAME, "--policy", policy, "--sa", sas, "--fresh")
    _, old = pids(a)
    os.kill(old, 9)
    net.wait_until(lambda: a.worker_pid() not in (0, old), "another worker", 10)
    a.ipsecbpf("sa", "flush", net.IFNAME)
    for pid in pids(a):
        assert names(places(pid, needles(sas))) == []


# ---- one key, one sender ------------------------------------------------------------------------

@pytest.mark.parametrize("suite", net.COUNTER_MODE)
@pytest.mark.parametrize("first", ("out", "in"))
def test_one_key_for_both_directions_is_refused_across_files(product, wire, suite, first):
    a, b = wire.a, wire.b
    policy = wire.write("policy.json", net.protect_all(b, suite))
    a.ipsecbpf("attach", net.IFNAME, "--policy", policy)
    sa = {"out": net.new_sa(a.address(4), b.address(4), 0x5001, suite),
          "in": net.new_sa(b.address(4), a.address(4), 0x5002, suite)}
    second = "in" if first == "out" else "out"
    sa[second]["key"] = sa[first]["key"]
    files = {name: wire.write(f"{name}.json", net.sa_file(one), mode=0o600)
             for name, one in sa.items()}
    a.ipsecbpf("sa", "apply", net.IFNAME, files[first], "--fresh")
    done = a.ipsecbpf("sa", "apply", net.IFNAME, files[second], "--fresh", check=False)
    assert done.returncode == 1 and "has the key of the live SA" in done.stderr
    assert sa[first]["key"] not in done.stderr
    status = a.status()
    assert (status["sas_out"], status["sas_in"]) == ((1, 0) if first == "out" else (0, 1))


def test_one_key_for_both_directions_is_no_matter_without_counters(product, wire):
    """Random IVs: nothing repeats (RFC 3602 3)."""
    a, b, suite = wire.a, wire.b, "aes128-sha256"
    policy = wire.write("policy.json", net.protect_all(b, suite))
    a.ipsecbpf("attach", net.IFNAME, "--policy", policy)
    there = net.new_sa(a.address(4), b.address(4), 0x5001, suite)
    back = dict(there, src=there["dst"], dst=there["src"], spi=0x5002)
    for number, sa in enumerate((there, back)):
        a.ipsecbpf("sa", "apply", net.IFNAME,
                   wire.write(f"{number}.json", net.sa_file(sa), mode=0o600))
    status = a.status()
    assert (status["sas_out"], status["sas_in"]) == (1, 1)
