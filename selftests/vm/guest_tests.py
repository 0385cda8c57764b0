# SPDX-License-Identifier: BSD-2-Clause
"""Host A runs ipsecbpf, host B the kernel's XFRM with the same keys. Runs in a guest, see test-guest.

With GUEST_SELF_PROOF=1 host A runs XFRM too: that tests this harness, not the product.
"""

import os
import sys
from collections import Counter

import pytest

sys.path.insert(0, os.path.dirname(__file__))

from guest_net import (A, B, Wire, ping, set_up_network, tcp_transfer, tear_down_network,
                       udp_exchange)
from guest_sides import SUITES, Config, IpsecbpfSide, XfrmSide, sa_pairs

SELF_PROOF = os.environ.get("GUEST_SELF_PROOF") == "1"
PROGRAM = os.environ.get("IPSECBPF", "build/ipsecbpf")
TCP_BYTES = 2 << 20
UDP_SIZES = (1, 2, 3, 15, 16, 17, 64, 500, 1300)
CONFIGS = [Config(suite, mode, esn)
           for suite in SUITES for mode in ("transport", "tunnel") for esn in (True, False)]
FAMILIES = pytest.mark.parametrize("family", (4, 6), ids=("ipv4", "ipv6"))
DIRECTIONS = pytest.mark.parametrize("src, dst", ((A, B), (B, A)), ids=("A-to-B", "B-to-A"))


@pytest.fixture(scope="module")
def sides(tmp_path_factory):
    """Both hosts up, A protected by the implementation under test, without any SA yet."""
    set_up_network()
    side_a = XfrmSide(A, B) if SELF_PROOF else \
        IpsecbpfSide(A, B, os.path.abspath(PROGRAM), tmp_path_factory.mktemp("A"))
    side_b = XfrmSide(B, A)
    try:
        side_a.start()
        yield side_a, side_b
        side_a.stop()
    finally:
        tear_down_network()


@pytest.fixture(scope="module", params=CONFIGS, ids=str)
def link(request, sides):
    """The hosts with a fresh set of SAs and a capture of the wire since before their first packet."""
    side_a, side_b = sides
    link = Link(side_a, side_b, Wire())
    link.configure(request.param)
    yield link
    link.wire.close()


class Link:
    def __init__(self, side_a, side_b, wire):
        self.a, self.b, self.wire = side_a, side_b, wire
        self.sas = []
        self.errors_before = {}

    def configure(self, config):
        self.sas = sa_pairs(A, B, config)
        self.b.configure(config, self.sas)
        self.a.configure(config, self.sas)
        self.errors_before = self.b.errors()
        self.wire.forget()

    def assert_only_esp(self):
        self.wire.read()
        assert not self.wire.clear, "clear text on the wire"
        spis = {(sa.src, sa.dst, sa.spi) for sa in self.sas}
        assert {(p.src, p.dst, p.spi) for p in self.wire.esp} <= spis, "ESP of another SA"


@FAMILIES
@DIRECTIONS
def test_ping(link, src, dst, family):
    assert ping(src, dst, family) == 2
    link.assert_only_esp()


@FAMILIES
@DIRECTIONS
def test_tcp(link, src, dst, family):
    tcp_transfer(src, dst, family, TCP_BYTES)
    link.assert_only_esp()


@FAMILIES
def test_udp(link, family):
    udp_exchange(A, B, family, UDP_SIZES)
    link.assert_only_esp()


def test_every_packet_counted_and_none_refused(link):
    """After the tests above: the wire, XFRM's SAs and XFRM's error counters tell one story."""
    link.wire.read()
    assert not link.wire.clear
    on_wire = Counter(packet.spi for packet in link.wire.esp)
    counted = link.b.packets()
    for sa in link.sas:
        assert on_wire[sa.spi] > 0, f"no packet from {sa.src} to {sa.dst}"
        assert counted[sa.spi] == (on_wire[sa.spi], 0), f"SA {sa.spi:#x} from {sa.src} to {sa.dst}"
    assert link.b.errors() == link.errors_before


def test_sequence_numbers_begin_at_one_and_never_repeat(link):
    link.wire.read()
    for sa in link.sas:
        seqs = [packet.seq for packet in link.wire.esp if packet.spi == sa.spi]
        assert len(set(seqs)) == len(seqs), f"SA {sa.spi:#x}: a sequence number twice"
        assert min(seqs) == 1, f"SA {sa.spi:#x}: begins at {min(seqs)}"
