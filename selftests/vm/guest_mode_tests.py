# SPDX-License-Identifier: BSD-2-Clause
"""Every mode of IPsec between ipsecbpf (host A) and XFRM (host B), with a router between them.

Small packets in every suite; in one suite of each mode also fragments, and a path that turns out
to be narrow. Runs in a guest, see test-guest.
"""

import contextlib
import socket
import subprocess

import pytest

from guest_link import PRODUCT, SELF_PROOF, Link, running_sides, wait_for
from guest_net import (IPV6_DSTOPTS, IPV6_HOPOPTS, LIMIT_S, ROUTED_A as A, ROUTED_B as B, ROUTER, WIRE,
                       ip_batch, make_socket, ping, set_path_mtu, tcp_transfer, udp_exchange)
from guest_sides import Config, Layer

MTU = 1500
NARROW = 1280
TCP_BYTES = 128 << 10
UDP_SIZES = (1, 16, 500, 1200)
LARGE = (4000,) * 10 + (60000,)
GCM, CBC = "aes128gcm16", "aes128-sha256"
NAT_T, PORTS = (4500, 4500), (40500, 4500)


def layers(*all_layers, esn=True, outer=0):
    return Config(all_layers, esn, outer=outer)


# One of each mode: what is tested with fragments and on a narrow path.
THOROUGH = [
    layers(Layer(GCM, "transport")),
    layers(Layer(CBC, "tunnel"), esn=False),
    layers(Layer(GCM, "transport", NAT_T)),
    layers(Layer("chacha20poly1305", "tunnel", NAT_T)),
    layers(Layer("sha256", "transport")),
    layers(Layer("sha256", "tunnel"), esn=False),
    layers(Layer(GCM, "tunnel"), outer=6),
    layers(Layer(GCM, "tunnel"), outer=4),
    layers(Layer(GCM, "transport"), Layer("sha256", "transport")),
    layers(Layer(CBC, "transport"), Layer(GCM, "tunnel")),
]
CONFIGS = THOROUGH + [
    layers(Layer(CBC, "transport", PORTS), esn=False),
    layers(Layer(GCM, "tunnel", PORTS), esn=False),
    layers(Layer(CBC, "tunnel", NAT_T), outer=6),
    layers(Layer(GCM, "tunnel", NAT_T), outer=4),
    layers(Layer("sha1", "transport"), esn=False),
    layers(Layer("sha384", "transport")),
    layers(Layer("sha512", "transport"), esn=False),
    layers(Layer("aesxcbc", "transport")),
    layers(Layer("aescmac", "transport"), esn=False),
    layers(Layer("md5", "transport")),
    layers(Layer("sha1", "tunnel")),
    layers(Layer("sha512", "tunnel")),
    layers(Layer("sha384", "tunnel"), outer=6),
    layers(Layer("sha256", "tunnel"), outer=4),
    layers(Layer("sha1", "transport"), Layer(GCM, "tunnel")),
    layers(Layer(GCM, "tunnel"), Layer(CBC, "tunnel"), esn=False),
    layers(Layer(GCM, "tunnel"), Layer("sha512", "transport")),
]
TUNNELS = [config for config in THOROUGH
           if len(config.layers) == 1 and config.layers[0].mode == "tunnel"]
BOTH_WAYS = ((A, B), (B, A))
thorough = pytest.mark.only(lambda config: config in THOROUGH)
transport = pytest.mark.only(lambda config: {layer.mode for layer in config.layers} == {"transport"})
tunnel = pytest.mark.only(lambda config: config in TUNNELS)

# IPv4 options (RFC 791, RFC 2113): one that AH covers of each kind, and two that the router fills in.
ROUTER_ALERT = bytes((148, 4, 0, 0))
SECURITY = bytes((130, 11)) + bytes(9)
RECORD_ROUTE = bytes((7, 11, 4)) + bytes(8)
TIMESTAMP = bytes((68, 12, 5, 1)) + bytes(8)
NOP, END = b"\1", b"\0"
# An IPv6 options header with two experimental options, the second of which may change on the way
# (RFC 4727), and PadN. Next header is the kernel's to fill in.
OPTIONS6 = bytes((0, 1, 0x1e, 4)) + b"stay" + bytes((0x3e, 4)) + b"vary" + bytes((1, 0))
IP_OPTIONS = {
    4: (ROUTER_ALERT + SECURITY + RECORD_ROUTE + TIMESTAMP + NOP + END,),
    6: ({IPV6_HOPOPTS: OPTIONS6}, {IPV6_DSTOPTS: OPTIONS6},
        {IPV6_HOPOPTS: OPTIONS6, IPV6_DSTOPTS: OPTIONS6}),
}
NOT_ECT, ECT_1, ECT_0, CE = range(4)
EXPEDITED = 46 << 2     # a DSCP (RFC 3246)


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """Both hosts up, A protected by the implementation under test, without any SA yet."""
    with running_sides(A, B, tmp_path_factory.mktemp("A"), routed=True) as both:
        yield both


@pytest.fixture(scope="module", params=CONFIGS, ids=str)
def link(request, sides):
    link = Link(*sides, ROUTER.values())
    link.configure(request.param)
    yield link
    link.wire.close()


@pytest.fixture
def bare_link(sides):
    """For tests that break things: nothing is configured yet."""
    link = Link(*sides, ROUTER.values())
    yield link
    link.wire.close()


# ---- tests ----

def test_small_packets(link):
    for family in link.config.families:
        for src, dst in BOTH_WAYS:
            assert ping(src, dst, family) == 2, f"IPv{family} from {src.name}: {link.story()}"
            tcp_transfer(src, dst, family, TCP_BYTES)
        udp_exchange(A, B, family, UDP_SIZES)
    link.assert_only_ours()


@transport
def test_ip_options(link):
    """The kernel's answers have the same IPv4 options; the router has filled in two of them."""
    for family in link.config.families:
        for options in IP_OPTIONS[family]:
            for src, dst in BOTH_WAYS:
                assert ping(src, dst, family, (56, 1200), options=options) == 2, \
                    f"IPv{family} from {src.name}, {options}: {link.story()}"
    link.assert_only_ours()


@thorough
def test_fragments(link):
    """A ping of 60,000 octets and datagrams of 4,000: XFRM fragments what it has protected."""
    for family in link.config.families:
        for src, dst in BOTH_WAYS:
            assert ping(src, dst, family, (60000,)) == 1, f"IPv{family} from {src.name}: {link.story()}"
            udp_exchange(src, dst, family, LARGE)
    link.assert_only_ours()


@tunnel
def test_outer_header(link):
    """DSCP is copied; ECN too (RFC 6040 4.1), by ipsecbpf: XFRM sends ECT(0) for CE (RFC 3168)."""
    for family in link.config.families:
        for src, dst in BOTH_WAYS:
            link.assert_only_ours()
            before = len(link.wire.sealed)
            sent = [EXPEDITED | ecn for ecn in (NOT_ECT, ECT_1, ECT_0, CE)]
            assert [send_marked(src, dst, family, marked) for marked in sent] == sent
            link.wire.read()
            seen = [packet.traffic_class for packet in link.wire.sealed[before:]]
            if src is B or SELF_PROOF:
                assert seen[3] in (EXPEDITED | ECT_0, EXPEDITED | CE)
                del seen[3]
            assert seen == sent[:len(seen)], (family, src)


@contextlib.contextmanager
def congestion():
    """The router marks everything that it takes from either side."""
    mark = "matchall action pedit ex munge"
    for router in ROUTER.values():
        tc_batch(f"qdisc add dev {router.dev} clsact",
                 f"filter add dev {router.dev} ingress protocol ip prio 1 "
                 f"{mark} ip tos set 3 retain 3 pipe action csum ip4h",
                 f"filter add dev {router.dev} ingress protocol ipv6 prio 2 "
                 f"{mark} ip6 traffic_class set 3 retain 3")
    try:
        yield
    finally:
        tc_batch(*(f"qdisc del dev {router.dev} clsact" for router in ROUTER.values()))


def tc_batch(*lines):
    subprocess.run(["tc", "-n", WIRE, "-batch", "-"], input="\n".join(lines) + "\n", text=True,
                   check=True)


@pytest.mark.parametrize("config", TUNNELS, ids=str)
def test_congestion_on_the_way(bare_link, config):
    """A mark reaches the inner packet. Where its transport would not see it, RFC 6040 4.2 has the
    packet dropped; XFRM delivers it without."""
    link = bare_link
    link.configure(config)
    with congestion():
        for family in config.families:
            for src, dst in BOTH_WAYS:
                for ecn in (ECT_1, ECT_0, CE):
                    assert send_marked(src, dst, family, EXPEDITED | ecn) == EXPEDITED | CE
            assert send_marked(A, B, family, EXPEDITED) == EXPEDITED
            if SELF_PROOF:
                continue
            before = link.a.drops("ecn")
            with make_socket(B, family, socket.SOCK_DGRAM) as client:
                client.sendto(b"unmarked", (A.address(family), 9))
            wait_for(lambda: link.a.drops("ecn") == before + 1, "a drop of what cannot be marked")


@PRODUCT
def test_ah_padded_as_xfrm_does_by_default(bare_link):
    """ipsecbpf takes AH padded to 8 octets in IPv4, and sends the least padding, as RFC 4302 2.6 says.
    XFRM takes that only with `flag align4`."""
    link = bare_link
    link.configure(layers(Layer("sha256", "transport", padded=True)))
    assert send_marked(B, A, 4, EXPEDITED) == EXPEDITED
    assert ping(A, B, 6) == ping(B, A, 6) == 2
    before = link.b.errors().get("XfrmInStateProtoError", 0)
    with make_socket(A, 4, socket.SOCK_DGRAM) as client:
        client.sendto(b"not padded", (B.v4, 9))
    wait_for(lambda: link.b.errors().get("XfrmInStateProtoError", 0) == before + 1, link.b.errors)


def send_marked(src, dst, family, traffic_class):
    """Sends a datagram and returns the traffic class it arrives with."""
    level, name, wanted = (socket.IPPROTO_IP, socket.IP_TOS, socket.IP_RECVTOS) if family == 4 else \
        (socket.IPPROTO_IPV6, socket.IPV6_TCLASS, socket.IPV6_RECVTCLASS)
    with make_socket(dst, family, socket.SOCK_DGRAM, bind_port=0) as server, \
            make_socket(src, family, socket.SOCK_DGRAM) as client:
        server.setsockopt(level, wanted, 1)
        client.setsockopt(level, name, traffic_class)
        client.sendto(b"marked", server.getsockname())
        _, ancillary, _, _ = server.recvmsg(64, 64)
        return ancillary[0][2][0]


def test_every_packet_counted_and_none_refused(link):
    link.assert_all_counted()


@pytest.fixture
def narrow_path():
    set_path_mtu(NARROW)
    yield
    set_path_mtu(MTU)


@contextlib.contextmanager
def told_by_hand(config):
    """XFRM does not learn the path MTU of AH tunnels in IPv6: where a message quotes one, the kernel
    steps over AH as over any extension header (ipv6_skip_exthdr), and never asks ah6."""
    if str(config.layers[-1]) != "AH tunnel" or 6 not in map(config.outer_family, config.families):
        yield
        return
    hosts = BOTH_WAYS if SELF_PROOF else BOTH_WAYS[1:]
    routes = [(host.name, f"{peer.v6}/128 via {ROUTER[host].v6}") for host, peer in hosts]
    for name, route in routes:
        ip_batch(name, [f"route add {route} mtu {NARROW}"])
    try:
        yield
    finally:
        for name, route in routes:
            ip_batch(name, [f"route del {route}"])


@thorough
def test_narrow_path(link, narrow_path):
    """1280 octets in the middle: nobody is told by hand, and everything still arrives."""
    before = link.errors()
    with told_by_hand(link.config):
        for family in link.config.families:
            for src, dst in BOTH_WAYS:
                tcp_transfer(src, dst, family, TCP_BYTES)
                # What is too big is lost once in each direction: its sender is told.
                assert any(ping(src, dst, family, (60000,), limit=limit) for limit in (1, 1, LIMIT_S)), \
                    f"IPv{family} from {src.name}: {link.story()}"
            udp_exchange(A, B, family, LARGE)
    link.assert_only_ours()
    assert link.wire.errors, "the path was not narrow"
    new = [{reason for reason, count in now.items() if count != then.get(reason)}
           for then, now in zip(before, link.errors())]
    # The last fragment of what was too big may come alone. In UDP nothing tells whose it is.
    told = {"too_big", "clear_text"} if link.config.layers[-1].ports else {"too_big"}
    assert new[0] <= told and new[1] <= {"XfrmOutStateModeError"}, link.story()
    if not SELF_PROOF:
        sas = link.a.sas()
        learnt = [sas[sa.spi]["path_mtu"] for sa in link.outermost() if sa.dst != A.address(sa.family)]
        assert set(learnt) == {NARROW}
