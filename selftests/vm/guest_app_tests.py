# SPDX-License-Identifier: BSD-2-Clause
"""Programs that host A's policy names, on this kernel. Runs in a guest, see test-guest.

Host B is the kernel's XFRM, which protects one TCP port on either host, UDP and ping. This process
itself is the program: who makes a socket is known by where the process is at that moment.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from guest_link import PRODUCT, PROGRAM, Link, wait_for
from guest_net import A, B, Host, in_netns, ip_batch, make_socket, ping, set_up_network, \
    tear_down_network, udp_exchange
from guest_sides import Config, IpsecbpfSide, XfrmSide

pytestmark = PRODUCT

CGROUP2 = Path("/sys/fs/cgroup")
TOP = CGROUP2 / "guest.slice"
UNIT, OTHER = TOP / "web.service/worker", TOP / "other.service"
BUSYBOX = os.path.realpath(shutil.which("busybox") or "busybox")
PLAIN = Config.esp("aes128gcm16", "transport", True)
SECURE, LISTENING, CLEAR = 7001, 7002, 7003     # TCP ports: B's, A's, one that B does not protect
DATA = bytes(range(256)) * 100
HOOKS = 12
# Another way between the two, on which there are no hooks.
SIDE_A = Host("A", "side0", "10.98.0.1", "fd98::1")
SIDE_B = Host("B", "side0", "10.98.0.2", "fd98::2")
FAMILIES = pytest.mark.parametrize("family", (4, 6), ids=("ipv4", "ipv6"))


@contextlib.contextmanager
def within(cgroup):
    """This process is there; what it makes meanwhile stays what it was made as."""
    def move(place):
        (place / "cgroup.procs").write_text(str(os.getpid()))

    home = CGROUP2 / Path("/proc/self/cgroup").read_text().strip().removeprefix("0::/")
    move(cgroup)
    try:
        yield
    finally:
        move(home)


def application(name, match):
    return {"name": name, "match": match, "default": "discard",
            "networks": [{"remote": "any", "class": "protected",
                          "protect": [{"peer": "peer", "protection": "layer0"}]}]}


class Program(IpsecbpfSide):
    """Host A: a unit and an executable are protected, everything else passes."""

    def policy(self, config):
        return super().policy(config) | {
            "rules": [{"name": "others", "action": "bypass"}],
            "applications": [application("unit", {"unit": "web.service"}),
                             application("executable", {"executable": BUSYBOX})]}

    def start(self):
        policy = self.write("start.json", self.policy(PLAIN))
        self.run("attach", self.host.dev, "--cgroup", TOP, "--policy", policy, "--xdp", "native")
        self.attached = True

    def listed(self, name):
        told = json.loads(self.run("--json", "app", "list", self.host.dev))["applications"]
        return next(app for app in told if app["name"] == name)


class SomePorts(XfrmSide):
    """Host B: what is named is protected, and nothing else."""

    NAMED = {        # by direction
        "out": (f"proto tcp sport {SECURE}", f"proto tcp dport {LISTENING}", "proto udp"),
        "in": (f"proto tcp dport {SECURE}", f"proto tcp sport {LISTENING}", "proto udp"),
    }
    ECHO = {"out": {4: "proto icmp", 6: "proto ipv6-icmp type 129"},
            "in": {4: "proto icmp", 6: "proto ipv6-icmp type 128"}}

    def policies(self, config):
        for family in config.families:
            for direction, src, dst in (("out", self.host, self.peer),
                                        ("in", self.peer, self.host)):
                pair = f"src {src.address(family)} dst {dst.address(family)}"
                yield from (f"xfrm policy add {pair} {named} dir {direction} "
                            f"tmpl {pair} proto esp reqid 1 mode transport"
                            for named in (*self.NAMED[direction], self.ECHO[direction][family]))


@pytest.fixture(scope="module")
def link(tmp_path_factory):
    cgroups = (TOP, UNIT.parent, UNIT, OTHER)
    for cgroup in cgroups:
        cgroup.mkdir()
    set_up_network()
    ip_batch(A.name, [f"link add {SIDE_A.dev} type veth peer name {SIDE_B.dev} netns {B.name}"])
    for host in (SIDE_A, SIDE_B):
        ip_batch(host.name, [f"link set {host.dev} up", f"address add {host.v4}/24 dev {host.dev}"])
    side = Program(A, B, PROGRAM, tmp_path_factory.mktemp("A"))
    try:
        side.start()
        link = Link(side, SomePorts(B, A))
        link.configure(PLAIN)
        yield link
        link.wire.close()
    finally:
        if side.attached:
            side.stop()
        tear_down_network()
        for cgroup in reversed(cgroups):
            cgroup.rmdir()


@pytest.fixture(autouse=True)
def quiet(link):
    link.wire.forget()


def receive(sock):
    data = b""
    while len(data) < len(DATA) and (more := sock.recv(len(DATA))):
        data += more
    return data


def listen(host, family, port):
    listener = make_socket(host, family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host.address(family), port))
    listener.listen()
    return listener


@contextlib.contextmanager
def connection(server, client, family, port, made_in):
    """Both ends of one, of which A's is made in that cgroup. Bytes have gone both ways."""
    def where(host):
        return within(made_in) if host is A else contextlib.nullcontext()

    with where(server):
        listener = listen(server, family, port)
    with where(client):
        at_client = make_socket(client, family, socket.SOCK_STREAM)
    with listener, at_client:
        at_client.connect(listener.getsockname())
        at_server, _ = listener.accept()
        with at_server:
            at_server.settimeout(at_client.gettimeout())
            for source, sink in ((at_client, at_server), (at_server, at_client)):
                source.sendall(DATA)
                assert receive(sink) == DATA
            yield


def assert_sealed(link):
    link.assert_only_ours()
    assert link.wire.sealed


def assert_clear(link):
    link.wire.read()
    assert link.wire.clear and not link.wire.sealed


def hooks_at(cgroup):
    text = subprocess.run(["/usr/sbin/bpftool", "-j", "cgroup", "show", cgroup], check=True,
                          capture_output=True, text=True).stdout
    return len(json.loads(text.strip() or "[]"))


# ---- tests ----

def test_every_hook_is_loaded(link):
    status = link.a.status()
    assert status["socket_hooks"] == {"attached": HOOKS, "of": HOOKS, "cgroup": str(TOP)}
    assert hooks_at(TOP) == HOOKS and hooks_at(CGROUP2) == 0
    assert link.a.preflight()["application_policy"]["result"] == "ok"


@FAMILIES
def test_what_a_unit_connects_to(link, family):
    with connection(B, A, family, SECURE, UNIT):
        assert link.a.listed("unit")["connections"] == 1
    assert_sealed(link)
    assert link.a.listed("unit")["protected"]["packets"] > 0


@FAMILIES
def test_what_another_program_connects_to(link, family):
    with connection(B, A, family, CLEAR, OTHER):
        assert link.a.listed("unit")["connections"] == 0
    assert_clear(link)


@FAMILIES
def test_what_connects_to_a_unit(link, family):
    """The SYN-ACK is of no full socket; the socket that is accepted is the listener's program's."""
    with connection(A, B, family, LISTENING, UNIT):
        pass
    assert_sealed(link)


def test_an_executable(link):
    """Whatever else is where it runs. Here it is on overlayfs."""
    with listen(B, 4, SECURE) as listener:
        with within(OTHER), in_netns(A.name):
            client = subprocess.Popen([BUSYBOX, "nc", "-w", "10", B.v4, str(SECURE)],
                                      stdin=subprocess.PIPE)
        with client:
            at_server, _ = listener.accept()
            client.stdin.write(DATA)
            client.stdin.close()
            with at_server:
                at_server.settimeout(listener.gettimeout())
                assert receive(at_server) == DATA
    assert_sealed(link)


@FAMILIES
def test_datagrams_and_ping(link, family):
    with within(UNIT):
        udp_exchange(A, B, family, (1, 500))
        assert ping(A, B, family, (56,)) == 1
    assert_sealed(link)


@FAMILIES
def test_clear_text_is_not_for_a_unit(link, family):
    """B speaks to it from a port that it does not protect."""
    before = link.a.drops("clear_text")
    with within(UNIT):
        listener = listen(A, family, CLEAR)
    with listener, make_socket(B, family, socket.SOCK_STREAM) as client:
        client.setblocking(False)
        client.connect_ex(listener.getsockname())
        wait_for(lambda: link.a.drops("clear_text") > before, "a connection in the clear is refused")
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_the_guard(link):
    """What comes another way than by the hooks of the interface: others get it, a unit does not."""
    def say(cgroup, received):
        with within(cgroup):
            server = make_socket(A, 4, socket.SOCK_DGRAM)
        with server, make_socket(B, 4, socket.SOCK_DGRAM, bind_port=0) as client:
            server.bind((SIDE_A.v4, CLEAR))
            client.sendto(b"clear", server.getsockname())
            received(server)

    say(OTHER, lambda server: server.recv(64))
    before = link.a.drops("unverified")

    def nothing(server):
        wait_for(lambda: link.a.drops("unverified") == before + 1, "the guard drops it")
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.recv(64)

    say(UNIT, nothing)


def test_the_hooks_stay_in_a_guard_and_go_with_it(link):
    link.a.run("detach", A.dev)
    assert hooks_at(TOP) == HOOKS
    with within(UNIT):
        client = make_socket(A, 4, socket.SOCK_DGRAM)
    with client:
        client.sendto(b"secret", (B.v4, CLEAR))
    link.assert_no_clear_text()
    link.a.stop()
    assert hooks_at(TOP) == 0
