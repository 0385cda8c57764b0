# SPDX-License-Identifier: BSD-2-Clause
"""Host A runs ipsecbpf, host B the kernel's XFRM with the same keys. Runs in a guest, see test-guest.

With GUEST_SELF_PROOF=1 host A runs XFRM too: that tests this harness, not the product.
"""

import ctypes
import dataclasses
import json
import os
import socket
import struct
import sys
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from guest_link import PRODUCT, Link, running_sides, wait_for
from guest_net import (A, B, in_netns, ip_batch, make_socket, ping, tcp_transfer, udp_exchange)
from guest_sides import OTHERS, USUAL, Config

PINS = Path("/sys/fs/bpf/ipsecbpf")
TCP_BYTES = {"long": 1 << 20, "short": 256 << 10}
# From one octet, over those around a cipher's block, to what fits a packet in every suite and mode.
UDP_SIZES = (1, 2, 3, 15, 16, 17, 64, 500, 1300)
PLAIN = Config.esp("aes128gcm16", "transport", True)
CONFIGS = [Config.esp(suite, mode, esn)
           for suite in USUAL for mode in ("transport", "tunnel") for esn in (True, False)]
CONFIGS += [Config.esp(suite, ("transport", "tunnel")[number // 2 % 2], number % 2 == 0)
            for number, suite in enumerate(OTHERS)]
CONFIGS.append(Config.esp("aes128gcm16", "tunnel", True, inner=True))
FAMILIES = pytest.mark.parametrize("family", (4, 6), ids=("ipv4", "ipv6"))
DIRECTIONS = pytest.mark.parametrize("src, dst", ((A, B), (B, A)), ids=("A-to-B", "B-to-A"))

SYS_BPF = 321           # x86-64
BPF_PROG_QUERY = 16
BPF_TCX_EGRESS = 47     # since 6.6; newer than Debian 12's headers


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """Both hosts up, A protected by the implementation under test, without any SA yet."""
    with running_sides(A, B, tmp_path_factory.mktemp("A")) as both:
        yield both


@pytest.fixture(scope="module", params=CONFIGS, ids=str)
def link(request, sides):
    link = Link(*sides)
    link.configure(request.param)
    yield link
    link.wire.close()


@pytest.fixture
def bare_link(sides):
    """For tests that break things: nothing is configured yet."""
    link = Link(*sides)
    yield link
    link.wire.close()


# ---- what the kernel says of an attachment ----

def xdp_of(host):
    entry = json.loads(ip_batch(host.name, [f"link show dev {host.dev}"], "-j", "-d"))[0]
    return entry.get("xdp")


def tcx_programs(host):
    """Programs on tcx egress, or None if this kernel has no tcx."""
    with in_netns(host.name):
        attr = ctypes.create_string_buffer(
            struct.pack("=IIIIQIIQQQ", socket.if_nametoindex(host.dev), BPF_TCX_EGRESS, *([0] * 8)))
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.syscall(SYS_BPF, BPF_PROG_QUERY, attr, ctypes.c_uint(len(attr) - 1)) != 0:
            return None
    return struct.unpack_from("=I", attr, 24)[0]


def clsact_programs(host):
    return os.popen(f"tc -n {host.name} filter show dev {host.dev} egress").read().count("bpf")


def processes_of(host):
    return os.popen(f"ip netns pids {host.name}").read().split()


# ---- tests ----

@PRODUCT
def test_attached_to_this_kernel(sides):
    status = sides[0].status()
    assert status["state"] == "running"
    assert status["xdp_mode"] == "native"
    xdp = xdp_of(A)
    assert xdp and xdp["mode"] == 1, f"not XDP in the driver: {xdp}"
    if tcx_programs(A) is None:
        assert status["tc_mode"] == "clsact"
        assert clsact_programs(A) > 0
    else:
        assert status["tc_mode"] == "tcx"
        assert tcx_programs(A) == 1


@PRODUCT
def test_preflight_knows_this_kernel(sides):
    """Nothing that attach needs is missing; clsact is found by trying; other tunnels are named."""
    checks = sides[0].preflight()
    assert [name for name in checks if checks[name]["result"] == "failure"] == ["attachment"]
    assert ("clsact" in checks["tc_hook"]["finding"]) == (tcx_programs(A) is None)
    assert "WireGuard" not in checks["others"]["finding"]
    if os.system(f"ip -n {A.name} link add wg9 type wireguard") == 0:
        finding = sides[0].preflight()["others"]["finding"]
        os.system(f"ip -n {A.name} link del wg9")
        assert "wg9: WireGuard" in finding
    ip_batch(A.name, ["xfrm policy add dir out src 192.0.2.1 dst 192.0.2.2 tmpl proto esp"])
    check = sides[0].preflight()["others"]
    assert check["result"] == "warning" and "1 policies" in check["finding"]
    assert os.system(f"ip -n {A.name} {check['fix'].removeprefix('ip ')}") == 0
    assert sides[0].preflight()["others"]["result"] == "ok"


@PRODUCT
@FAMILIES
def test_without_sa_nothing_leaves(bare_link, family):
    link = bare_link
    link.b.forget()
    link.a.forget()
    before = link.a.drops("no_sa_out")
    with make_socket(A, family, socket.SOCK_DGRAM) as sock:
        for _ in range(3):
            sock.sendto(b"secret", (B.address(family), 9))
    wait_for(lambda: link.a.drops("no_sa_out") == before + 3, "three drops for want of an SA")
    link.assert_no_clear_text()
    assert not link.wire.sealed


@PRODUCT
@FAMILIES
def test_clear_text_from_the_peer_is_refused(bare_link, family):
    link = bare_link
    link.configure(PLAIN)
    link.b.forget()
    before = link.a.drops("clear_text")
    with make_socket(A, family, socket.SOCK_DGRAM, bind_port=0) as server, \
            make_socket(B, family, socket.SOCK_DGRAM) as client:
        for _ in range(3):
            client.sendto(b"forged", server.getsockname())
        wait_for(lambda: link.a.drops("clear_text") == before + 3, "three drops of clear text")
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.recv(64)


@PRODUCT
@FAMILIES
def test_another_key_is_refused_by_both(bare_link, family):
    link = bare_link
    link.configure(PLAIN)
    link.b.configure(PLAIN, [dataclasses.replace(sa, key=bytes(len(sa.key))) for sa in link.sas])
    before = link.a.drops("icv"), link.b.errors().get("XfrmInStateProtoError", 0)
    with make_socket(A, family, socket.SOCK_DGRAM, bind_port=0) as at_a, \
            make_socket(B, family, socket.SOCK_DGRAM, bind_port=0) as at_b:
        at_a.sendto(b"to B", at_b.getsockname())
        at_b.sendto(b"to A", at_a.getsockname())
        wait_for(lambda: link.a.drops("icv") == before[0] + 1, "ipsecbpf refuses XFRM's packet")
        wait_for(lambda: link.b.errors().get("XfrmInStateProtoError", 0) == before[1] + 1,
                 "XFRM refuses ipsecbpf's packet")
        for sock in (at_a, at_b):
            sock.setblocking(False)
            with pytest.raises(BlockingIOError):
                sock.recv(64)
    link.assert_only_ours()


@FAMILIES
@DIRECTIONS
def test_ping(link, src, dst, family):
    src, dst = map(link.config.endpoint, (src, dst))
    assert ping(src, dst, family) == 2
    link.assert_only_ours()


@FAMILIES
@DIRECTIONS
def test_tcp(link, src, dst, family):
    src, dst = map(link.config.endpoint, (src, dst))
    long = link.config.layers[-1].mode == "transport" and link.config.esn     # one in four: emulation is slow
    tcp_transfer(src, dst, family, TCP_BYTES["long" if long else "short"])
    link.assert_only_ours()


@FAMILIES
def test_udp(link, family):
    udp_exchange(*map(link.config.endpoint, (A, B)), family, UDP_SIZES)
    link.assert_only_ours()


def test_every_packet_counted_and_none_refused(link):
    """After the tests above: the wire and both sides' counters tell one story."""
    link.assert_all_counted()


def test_sequence_numbers_begin_at_one_and_never_repeat(link):
    link.wire.read()
    for sa in link.sas:
        seqs = [packet.seq for packet in link.wire.sealed if packet.spi == sa.spi]
        assert len(set(seqs)) == len(seqs), f"SA {sa.spi:#x}: a sequence number twice"
        assert min(seqs) == 1, f"SA {sa.spi:#x}: begins at {min(seqs)}"


@PRODUCT
def test_a_filter_taken_off_is_noticed(bare_link):
    """tc(8) resets the qdisc: egress is open, which status must not call running."""
    if tcx_programs(A) is not None:
        pytest.skip("tcx in this kernel: the link tells (selftests/net/test_guard.py)")
    product = bare_link.a
    assert product.status()["state"] == "running"
    assert os.system(f"tc -n {A.name} qdisc del dev {A.dev} clsact") == 0
    assert clsact_programs(A) == 0
    assert product.status()["state"] == "gone"


@PRODUCT
def test_detach_leaves_nothing(bare_link):
    link = bare_link
    link.b.forget()
    link.a.stop()
    assert xdp_of(A) is None
    assert not tcx_programs(A) and not clsact_programs(A)
    assert not list(PINS.glob("*")), "pins are left"
    wait_for(lambda: not processes_of(A), "no process left on host A")
    assert ping(A, B, 4) == 2
    link.wire.read()
    assert link.wire.clear and not link.wire.sealed
