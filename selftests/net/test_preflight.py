# SPDX-License-Identifier: BSD-2-Clause
"""preflight on machines that lack one thing each: the check says so, attach refuses what is a
failure in the same words, and the command that is printed mends it.

What cannot be broken on this machine is judged by facts made up (selftests/unit/test_preflight.c):
the JIT, LRO and hardware GRO, RSS, drivers, more than 64 queues, the CPU, the engines, WireGuard.
"""
import errno
import json
import os
import re
import shlex
import shutil
import signal

import pytest

import topology as net

DENY = os.path.join(os.path.dirname(net.IPSECBPF), "net", "deny")
AF_XDP, BPF_MAP_CREATE, BPF_PROG_LOAD = 44, 0, 5

FOREIGN_XDP = """
__attribute__((section("xdp"), used)) int foreign(void *context)
{
	return 2;
}
char foreign_license[] __attribute__((section("license"), used)) = "GPL";
"""


@pytest.fixture
def host(product, wire):
    return wire.a


def parse(done):
    assert done.returncode in (0, 1), done.stderr
    report = json.loads(done.stdout)
    failures = [check for check in report["checks"].values() if check["result"] == "failure"]
    warnings = [check for check in report["checks"].values() if check["result"] == "warning"]
    assert (report["failures"], report["warnings"]) == (len(failures), len(warnings))
    assert done.returncode == (1 if failures else 0)
    return report["checks"]


def objects(done):
    """The two JSON objects of two runs."""
    decoder, text = json.JSONDecoder(), done.stdout
    first, end = decoder.raw_decode(text)
    second, _ = decoder.raw_decode(text[end:].lstrip())
    return first, second


def preflight(host, *options, prefix=()):
    return parse(host.run(*prefix, net.IPSECBPF, "-j", "preflight", net.IFNAME, *options,
                          check=False))


def assert_check(checks, name, result, finding, fix=None):
    check = checks[name]
    assert check["result"] == result, check
    assert re.search(finding, check["finding"]), check
    assert check["fix"] == fix, check


def refused_with(host, check, prefix=(), options=()):
    """attach says what preflight says, and leaves nothing."""
    done = host.run(*prefix, net.IPSECBPF, "-j", "attach", net.IFNAME, *options, check=False)
    assert done.returncode == 1
    said = [message for message in json.loads(done.stdout)["messages"]
            if message["cause"] == f"{check['title']}: {check['finding']}"]
    assert said and said[0]["next"] == check["fix"], done.stdout
    assert not host.attached()


def mend(host, name, prefix=()):
    """The printed command, run as it stands, makes the line ok."""
    fix = preflight(host, prefix=prefix)[name]["fix"]
    host.run(*prefix, "sh", "-c", fix)
    after = preflight(host, prefix=prefix)[name]
    assert after["result"] == "ok" and after["fix"] is None, after


def mended_in_mounts(host, spoil, name):
    """Spoils the file systems in a mount namespace of its own, asks, mends by the printed command,
    asks again. What preflight said before, and after."""
    command = f"{shlex.quote(net.IPSECBPF)} -j preflight {net.IFNAME}"
    script = f"""{spoil}
        before=$({command})
        printf '%s\\n' "$before"
        fix=$(printf '%s' "$before" | /usr/bin/python3 -c \
            'import json, sys; print(json.load(sys.stdin)["checks"]["{name}"]["fix"])')
        sh -c "$fix" >&2
        {command}"""
    done = host.run("unshare", "--mount", "sh", "-c", script, check=False)
    before, after = objects(done)
    assert after["checks"][name]["result"] == "ok", (after["checks"][name], done.stderr)
    return before["checks"]


# ---- the whole ----------------------------------------------------------------------------------

def test_all_is_said(host):
    """Every check of the list has its line, within 100 columns; the same words as JSON."""
    checks = preflight(host)
    page = host.ipsecbpf("help", "--man-checks").stdout
    assert list(checks) == re.findall(r"^\\fB(\w+)\\fR \(", page, re.M)
    done = host.ipsecbpf("preflight", net.IFNAME)
    assert max(map(len, done.stdout.splitlines())) <= 100
    assert len(done.stdout.splitlines()) <= 45
    words = " ".join(done.stdout.split())
    for check in checks.values():
        assert f"{check['result']} {check['title']} " in words
        assert check["finding"] in words
        assert not check["fix"] or f"fix: {check['fix']}" in words
    groups = [check["group"] for check in checks.values()]
    assert groups == sorted(groups, key=groups.index)
    assert "failure" not in [check["result"] for check in checks.values()]


def test_nothing_is_changed(host):
    def state():
        return (host.run("sysctl", "-a", "--pattern", r"net\.ipv[46]\.conf").stdout,
                host.ip("-d", "link", "show").stdout, host.run("ethtool", "-k", net.IFNAME).stdout,
                host.run("tc", "qdisc", "show").stdout, host.attached())
    before = state()
    preflight(host)
    assert state() == before


def test_no_such_interface(host):
    done = host.run(net.IPSECBPF, "-j", "preflight", "nowhere", check=False)
    checks = parse(done)
    assert_check(checks, "interface", "failure", "no such interface", "ip -brief link show")
    assert "mtu" not in checks and checks["bpffs"]["result"] == "ok"
    checks = parse(host.run(net.IPSECBPF, "-j", "preflight", "lo", check=False))
    assert_check(checks, "interface", "failure", "not an Ethernet", "ip -brief link show")


# ---- the process --------------------------------------------------------------------------------

def test_not_root(host):
    prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]
    checks = preflight(host, prefix=prefix)
    assert_check(checks, "capabilities", "failure", "not root", "sudo ipsecbpf preflight eth0")
    assert "state_dir" not in checks and "run_dir" not in checks, "root's, as they should be"
    assert checks["mtu"]["result"] == "ok" and "programs" not in checks
    # sudo is what root's own run is.
    assert preflight(host)["capabilities"]["result"] == "ok"


@pytest.mark.parametrize("name", ["net_admin", "net_raw", "bpf", "ipc_lock", "kill", "setuid",
                                  "setgid", "setpcap"])
def test_capability_dropped(host, name):
    prefix = ["capsh", f"--drop=cap_{name}", "--shell=/usr/bin/env", "--", "--"]
    checks = preflight(host, prefix=prefix)
    assert_check(checks, "capabilities", "failure", f": CAP_{name.upper()}$",
                 "systemd-run --pty ipsecbpf preflight eth0")
    refused_with(host, checks["capabilities"], prefix)


def test_locked_memory(host):
    """The command is for the shell it is typed in."""
    fix = "prlimit --pid $$ --memlock=8388608:"
    script = f"""ulimit -S -l 64; {net.IPSECBPF} -j preflight {net.IFNAME}
        {fix}; {net.IPSECBPF} -j preflight {net.IFNAME}"""
    done = host.run("capsh", "--drop=cap_ipc_lock", "--shell=/bin/sh", "--", "-c", script,
                    check=False)
    before, after = (report["checks"] for report in objects(done))
    assert_check(before, "memlock", "failure", "64 KiB; 8 MiB", fix)
    assert after["memlock"]["result"] == "ok"


# ---- the kernel: system calls fail as on one that lacks the thing -------------------------------

KERNEL = "apt-get install linux-image-amd64"


def test_kernel_without_af_xdp(host):
    prefix = [DENY, f"socket:{AF_XDP}:{errno.EAFNOSUPPORT}", "--"]
    checks = preflight(host, prefix=prefix)
    assert_check(checks, "af_xdp", "failure", "not supported", KERNEL)
    refused_with(host, checks["af_xdp"], prefix)


def test_kernel_without_programs(host):
    prefix = [DENY, f"bpf:{BPF_PROG_LOAD}:{errno.EINVAL}", "--"]
    checks = preflight(host, prefix=prefix)
    assert_check(checks, "bpf_features", "failure", "without XDP, tc programs$", KERNEL)
    assert_check(checks, "application_policy", "warning", "without cgroup/sock, ", KERNEL)
    assert_check(checks, "tc_hook", "failure", "neither", "modprobe -a sch_ingress cls_bpf")
    assert_check(checks, "programs", "failure", "did not take", KERNEL)
    assert_check(checks, "jit", "warning", "interpreted", "sysctl -w net.core.bpf_jit_enable=1")
    refused_with(host, checks["bpf_features"], prefix)
    refused_with(host, checks["tc_hook"], prefix)


def test_kernel_without_maps(host):
    prefix = [DENY, f"bpf:{BPF_MAP_CREATE}:{errno.EINVAL}", "--"]
    checks = preflight(host, prefix=prefix)
    assert_check(checks, "bpf_features", "failure", "without xskmap, ring buffer", KERNEL)
    assert_check(checks, "inner_maps", "failure", "no policy can be loaded", KERNEL)
    assert_check(checks, "application_policy", "warning", "without sk_storage", KERNEL)
    refused_with(host, checks["inner_maps"], prefix)


def test_kernel_without_tcx(host):
    """BPF_LINK_CREATE fails: clsact is found by trying, in a network namespace of a child's own."""
    prefix = [DENY, f"bpf:28:{errno.EINVAL}", "--"]
    assert_check(preflight(host, prefix=prefix), "tc_hook", "ok", "no tcx in this kernel: clsact")


def test_kernel_without_btf(host):
    script = "mount -t tmpfs none /sys/kernel/btf 2>/dev/null || mount -t tmpfs none /sys/kernel"
    command = f"{script}; exec {net.IPSECBPF} -j preflight {net.IFNAME}"
    checks = parse(host.run("unshare", "--mount", "sh", "-c", command, check=False))
    assert_check(checks, "btf", "warning", "no policy for applications", KERNEL)


# ---- file systems and devices -------------------------------------------------------------------

def test_bpffs_not_mounted(host):
    checks = mended_in_mounts(host, "umount /sys/fs/bpf", "bpffs")
    assert_check(checks, "bpffs", "failure", "not mounted",
                 "mkdir -p /sys/fs/bpf && mount -t bpf bpf /sys/fs/bpf")
    refused_with(host, checks["bpffs"],
                 ["unshare", "--mount", "sh", "-c", "umount /sys/fs/bpf && exec \"$@\"", "sh"])


def test_bpffs_read_only(host):
    """A file system of the test's own, so that the machine's stays as it is."""
    checks = mended_in_mounts(host, "mount -t bpf -o ro bpf /sys/fs/bpf", "bpffs")
    assert_check(checks, "bpffs", "failure", "read-only", "mount -o remount,rw /sys/fs/bpf")


def test_cgroup2_missing(host):
    spoil = """mount -t tmpfs tmpfs /run
        for at in $(awk '$3 == "cgroup2" {print $2}' /proc/self/mounts); do umount -l $at; done"""
    checks = mended_in_mounts(host, spoil, "cgroup2")
    assert_check(checks, "cgroup2", "warning", "not mounted here",
                 "mkdir -p /run/cgroup2 && mount -t cgroup2 cgroup2 /run/cgroup2")


def test_cgroup2_hidden(host):
    spoil = """mount -t tmpfs tmpfs /run
        for at in $(awk '$3 == "cgroup2" {print $2}' /proc/self/mounts)
        do mount -t tmpfs tmpfs $at; done"""
    checks = mended_in_mounts(host, spoil, "cgroup2")
    assert_check(checks, "cgroup2", "warning", "is hidden by another mount",
                 "mkdir -p /run/cgroup2 && mount -t cgroup2 cgroup2 /run/cgroup2")


def test_tun_device_missing(host):
    """A tmpfs over /dev/net hides the device; the command makes it anew."""
    checks = mended_in_mounts(host, "mount -t tmpfs tmpfs /dev/net", "tun")
    assert_check(checks, "tun", "failure", "No such file",
                 "mkdir -p /dev/net && mknod -m 666 /dev/net/tun c 10 200")
    refused_with(host, checks["tun"], ["unshare", "--mount", "sh", "-c",
                                       "mount -t tmpfs tmpfs /dev/net && exec \"$@\"", "sh"])


@pytest.mark.parametrize("name, place", [("state_dir", "/var/lib"), ("run_dir", "/run")])
def test_directories_read_only(host, name, place):
    checks = mended_in_mounts(host, f"mount -t tmpfs -o ro tmpfs {place}", name)
    assert_check(checks, name, "failure", f"{place}: Read-only",
                 f"mount -o remount,rw $(findmnt -no TARGET -T {place})")


# ---- the interface ------------------------------------------------------------------------------

def test_interface_down(host):
    host.ip("link", "set", "dev", net.IFNAME, "down")
    assert_check(preflight(host), "interface", "warning", "down", "ip link set dev eth0 up")
    mend(host, "interface")


def test_interface_is_a_port(host):
    host.ip("link", "add", "br0", "type", "bridge")
    host.ip("link", "set", "dev", net.IFNAME, "master", "br0")
    assert_check(preflight(host), "interface", "warning", "a port of br0",
                 "ip link set dev eth0 nomaster")
    mend(host, "interface")


def test_devices_that_sockets_get_packets_from(host):
    assert_check(preflight(host), "applications", "ok", "no other is attached")
    host.ip("link", "add", "mac0", "link", net.IFNAME, "type", "macvlan")
    assert_check(preflight(host), "applications", "warning", "^mac0 lies above")
    host.ip("link", "del", "mac0")
    host.ip("link", "add", "br0", "type", "bridge")
    host.ip("link", "set", "dev", net.IFNAME, "master", "br0")
    assert_check(preflight(host), "applications", "warning", "^br0 lies above")


def test_a_device_above_that_is_elsewhere(host):
    """It came from another namespace, where something else has the interface's number."""
    index = json.loads(host.ip("-j", "link", "show", "dev", net.IFNAME).stdout)[0]["ifindex"]
    other = f"{host.netns}-above"
    net.run_command(["ip", "netns", "add", other])
    try:
        net.run_command(["ip", "-n", other, "link", "add", "low0", "index", str(index), "type", "bridge"])
        net.run_command(["ip", "-n", other, "link", "add", "mac0", "link", "low0", "type", "macvlan"])
        net.run_command(["ip", "-n", other, "link", "set", "mac0", "netns", host.netns])
        assert_check(preflight(host), "applications", "ok", "no other is attached")
    finally:
        net.run_command(["ip", "netns", "del", other])


@pytest.mark.parametrize("mtu, finding", [
    (3600, "3600; native XDP of driver veth takes at most 3506"), (1200, "at least 1280")])
def test_mtu(host, mtu, finding):
    host.ip("link", "set", "dev", net.IFNAME, "mtu", mtu)
    checks = preflight(host)
    assert_check(checks, "mtu", "failure", finding, "ip link set dev eth0 mtu 1500")
    refused_with(host, checks["mtu"])
    mend(host, "mtu")


def test_mtu_limit_of_veth_is_the_kernels(product):
    """At the limit that preflight tells, the kernel takes a program; one more, and it does not."""
    for mtu, taken in ((3506, True), (3507, False)):
        with net.Topology(middle=False, mtu=mtu) as topology:
            source = topology.write("foreign.c", FOREIGN_XDP)
            made = topology.path("foreign.o")
            net.run_command(["clang", "-O2", "-target", "bpf", "-c", source, "-o", made])
            done = topology.a.run("ip", "link", "set", "dev", net.IFNAME, "xdpdrv", "obj", made,
                                  "sec", "xdp", check=False)
            assert (done.returncode == 0) == taken, done.stderr
            assert (preflight(topology.a)["mtu"]["result"] == "ok") == taken


def test_mtu_of_generic_xdp(host):
    """Then only AF_XDP frames limit it, and attach works with it."""
    host.ip("link", "set", "dev", net.IFNAME, "mtu", 3600)
    checks = preflight(host, "--xdp", "generic")
    assert_check(checks, "mtu", "ok", "1280 to 3658")
    assert_check(checks, "xdp_mode", "ok", "generic")
    host.ipsecbpf("attach", net.IFNAME, "--xdp", "generic")


def test_room_for_esp(host):
    host.ip("link", "set", "dev", net.IFNAME, "mtu", 1300)
    assert_check(preflight(host), "esp_room", "warning", "carries 1223 octets",
                 "ip link set dev eth0 mtu 1500")
    mend(host, "esp_room")


def test_queues(host):
    """More than CPUs, and fewer to send than to receive: as many as there are of both."""
    cpus = os.sysconf("SC_NPROCESSORS_ONLN")
    host.ip("link", "add", "many", "numrxqueues", cpus + 2, "numtxqueues", 1, "type", "veth",
            "peer", "name", "many-peer")
    try:
        checks = parse(host.run(net.IPSECBPF, "-j", "preflight", "many", check=False))
        assert_check(checks, "queues", "warning", f"^{cpus + 2} for {cpus} CPUs: some receive",
                     "ethtool -L many rx 1")
        host.run("sh", "-c", checks["queues"]["fix"])
        checks = parse(host.run(net.IPSECBPF, "-j", "preflight", "many", check=False))
        assert_check(checks, "queues", "ok", "1 to receive")
    finally:
        host.ip("link", "del", "many")


def foreign(wire):
    source = wire.write("foreign.c", FOREIGN_XDP)
    made = wire.path("foreign.o")
    net.run_command(["clang", "-O2", "-g", "-target", "bpf", "-c", source, "-o", made])
    return made


@pytest.mark.parametrize("how, mode", [("xdpdrv", "native"), ("xdpgeneric", "generic")])
def test_foreign_xdp_program(wire, host, how, mode):
    host.ip("link", "set", "dev", net.IFNAME, how, "obj", foreign(wire), "sec", "xdp")
    checks = preflight(host)
    assert_check(checks, "xdp_hook", "failure", rf"taken by .*foreign, id \d+, {mode}$",
                 f"ip link set dev eth0 {how} off")
    refused_with(host, checks["xdp_hook"])
    mend(host, "xdp_hook")


def test_foreign_xdp_link(wire, host):
    """A link is not undone by ip link; preflight gives the command that does. The link is ours,
    of an attachment that has lost its pins but not its descriptors: a foreign one to preflight."""
    host.ipsecbpf("attach", net.IFNAME)
    pins = os.path.join(net.PIN_ROOT, host.key)
    assert_check(preflight(host), "xdp_hook", "ok", "ours, native")
    held = open_bpf(os.path.join(pins, "links", "xdp_ingress"))
    try:
        end_supervisor(host)
        shutil.rmtree(pins)
        os.unlink(os.path.join(net.RUN_ROOT, host.key + ".sock"))
        check = preflight(host)["xdp_hook"]
        assert check["result"] == "failure"
        assert re.fullmatch(r"bpftool link detach id \d+", check["fix"])
        refused_with(host, check)
        mend(host, "xdp_hook")
    finally:
        os.close(held)


def end_supervisor(host):
    pids = [host.status()["supervisor_pid"], host.worker_pid()]
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    net.wait_until(lambda: not set(pids) & set(host.pids()), "end of supervisor and worker")


def open_bpf(path):
    """BPF_OBJ_GET: a descriptor that keeps the link alive."""
    import ctypes
    name = ctypes.create_string_buffer(path.encode())
    attributes = (ctypes.c_uint64 * 16)(ctypes.addressof(name))
    fd = ctypes.CDLL(None, use_errno=True).syscall(321, 7, ctypes.byref(attributes), 128)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    return fd


def test_offloads(host):
    """veth lets go of these two. It starts with VLAN offload on."""
    host.run("ethtool", "-K", net.IFNAME, "rxvlan", "on")
    assert_check(preflight(host), "rx_vlan", "warning", "stripped", "ethtool -K eth0 rxvlan off")
    mend(host, "rx_vlan")
    host.run("ethtool", "-K", net.IFNAME, "sg", "off", "gso", "off", "tso", "off")
    assert_check(preflight(host), "gso", "warning", "packet by packet",
                 "ethtool -K eth0 sg on gso on")
    mend(host, "gso")


def test_attachment(host):
    host.ipsecbpf("attach", net.IFNAME)
    checks = preflight(host)
    assert_check(checks, "attachment", "failure", "already attached", "ipsecbpf detach eth0")
    assert_check(checks, "xdp_hook", "ok", "ours, native")
    host.ipsecbpf("detach", net.IFNAME)
    checks = preflight(host)
    assert_check(checks, "attachment", "warning", "a guard is in place, native mode",
                 "ipsecbpf attach eth0 --xdp native")
    host.ipsecbpf(*shlex.split(checks["attachment"]["fix"])[1:])
    host.ipsecbpf("detach", net.IFNAME, "--open")
    assert preflight(host)["attachment"]["result"] == "ok"


def test_tc_program_before_ours(wire, host):
    host.ipsecbpf("attach", net.IFNAME)
    source = wire.write("tc.c", FOREIGN_XDP.replace('"xdp"', '"tc"').replace("2;", "-1;"))
    net.run_command(["clang", "-O2", "-g", "-target", "bpf", "-c", source, "-o",
                     wire.path("tc.o")])
    held = attach_tcx_first(host, wire.path("tc.o"))
    try:
        check = preflight(host)["tc_order"]
        assert check["result"] == "warning" and "runs before ours" in check["finding"]
        assert re.fullmatch(r"bpftool link detach id \d+", check["fix"])
        mend(host, "tc_order")
    finally:
        os.close(held)


def attach_tcx_first(host, object_file):
    """A foreign link at the head of tcx egress; the descriptor holds it."""
    import ctypes
    import struct
    libc = ctypes.CDLL(None, use_errno=True)
    pin = f"/sys/fs/bpf/ipsecbpf-test-{os.getpid()}"
    net.run_command(["bpftool", "prog", "load", object_file, pin, "type", "classifier"])
    try:
        program = open_bpf(pin)
    finally:
        os.unlink(pin)
    with net.InNetns(net.netns_path(host.netns)):
        ifindex = int(json.loads(host.ip("-j", "link", "show", "dev", net.IFNAME).stdout)
                      [0]["ifindex"])
        attributes = ctypes.create_string_buffer(
            struct.pack("IIII", program, ifindex, 47, 1 << 3), 128)
        fd = libc.syscall(321, 28, ctypes.byref(attributes), 128)
    os.close(program)
    assert fd >= 0, os.strerror(ctypes.get_errno())
    return fd


def test_ssh_session(host):
    session = f"10.0.0.9 5555 {host.address(4)} 22"
    checks = preflight(host, prefix=["env", f"SSH_CONNECTION={session}"])
    assert_check(checks, "session", "warning", "yours comes in here",
                 "ipsecbpf attach eth0 --policy /etc/ipsecbpf/policy.json --trial 60")
    checks = preflight(host, prefix=["env", "SSH_CONNECTION=10.0.0.9 5555 10.0.0.8 22"])
    assert checks["session"]["result"] == "ok"


# ---- the network namespace ----------------------------------------------------------------------

def test_rp_filter(host):
    host.run("sysctl", "-w", f"net.ipv4.conf.{net.IFNAME}.rp_filter=1",
             "net.ipv4.conf.all.rp_filter=1")
    assert_check(preflight(host), "rp_filter", "warning", "strict",
                 "sysctl -w net/ipv4/conf/eth0/rp_filter=2")
    mend(host, "rp_filter")


@pytest.mark.parametrize("where", ["all", net.IFNAME])
def test_accept_local(host, where):
    host.run("sysctl", "-w", f"net.ipv4.conf.{where}.accept_local=1")
    assert_check(preflight(host), "accept_local", "warning", "as from this host itself",
                 "sysctl -w net/ipv4/conf/all/accept_local=0 net/ipv4/conf/eth0/accept_local=0")
    mend(host, "accept_local")


def test_mark_in_use(host):
    """The other bits that are offered are free, and attach takes them."""
    host.ip("rule", "add", "fwmark", "0xe5000000/0xff000000", "table", "100")
    host.ip("-6", "rule", "add", "fwmark", "0x1/0xff0000", "table", "100")
    checks = preflight(host)
    assert_check(checks, "mark", "warning", r"fwmark 0xe5000000/0xff000000\) catches",
                 "ipsecbpf attach eth0 --mark 0xe500/0xff00")
    words = shlex.split(checks["mark"]["fix"])
    assert_check(preflight(host, *words[3:]), "mark", "ok", "0xe500/0xff00; no routing rule")
    host.ipsecbpf(*words[1:])


def test_kernel_ipsec(host):
    done = host.run("ip", "xfrm", "policy", "add", "src", "10.9.0.1", "dst", "10.9.0.2", "dir",
                    "out", "tmpl", "proto", "esp", "mode", "transport", check=False)
    if done.returncode:
        pytest.skip(f"this kernel has no IPsec: {done.stderr.strip()}")
    assert_check(preflight(host), "others", "warning", "has 1 policies", "ip xfrm policy flush")
    mend(host, "others")
