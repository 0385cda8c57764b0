# SPDX-License-Identifier: BSD-2-Clause
"""Two sides with SAs, the capture between them, and what must hold of both at the end."""

import contextlib
import os
import time
from collections import Counter
from pathlib import Path

import pytest

import guest_table
from guest_net import LIMIT_S, Wire, set_up_network, tear_down_network
from guest_sides import IpsecbpfSide, XfrmSide, sa_pairs

SELF_PROOF = os.environ.get("GUEST_SELF_PROOF") == "1"
PROGRAM = Path(os.environ.get("B", "build")).resolve() / "ipsecbpf"
PRODUCT = pytest.mark.skipif(SELF_PROOF, reason="tests ipsecbpf, not the harness")


@contextlib.contextmanager
def running_sides(a, b, directory, routed=False):
    """Both hosts up, a protected by the implementation under test, without any SA yet."""
    set_up_network(routed)
    side_a = XfrmSide(a, b) if SELF_PROOF else IpsecbpfSide(a, b, PROGRAM, directory)
    side_b = XfrmSide(b, a)
    try:
        side_a.start()
        yield side_a, side_b
        side_a.stop()
    finally:
        tear_down_network()


def wait_for(condition, what):
    """Polls; `what` is said on failure, or makes what is said."""
    deadline = time.monotonic() + LIMIT_S
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not within {LIMIT_S} s: {what() if callable(what) else what}")
        time.sleep(0.02)


class Link:
    """The two sides with a set of SAs, and a capture of the wire since before their first packet."""

    def __init__(self, side_a, side_b, routers=()):
        self.a, self.b, self.wire = side_a, side_b, Wire(routers)
        self.config, self.sas, self.errors_before = None, [], ()

    def configure(self, config):
        self.config = config
        self.sas = sa_pairs(self.a.host, self.b.host, config)
        self.wire.udp_ports = set(config.layers[-1].ports)
        self.b.configure(config, self.sas)
        self.a.configure(config, self.sas)
        self.errors_before = self.errors()
        self.wire.forget()

    def errors(self):
        """What either side has refused since it came up, whatever the reason.

        Fragments whose others were lost before (on a narrow path) time out later, and are not
        refused. None is lost where counts are compared.
        """
        def without_time_outs(errors):
            return {reason: count for reason, count in errors.items() if reason != "reassembly_timeout"}

        return without_time_outs(self.a.errors()), without_time_outs(self.b.errors())

    def story(self):
        """For a failure: what there is to know."""
        self.wire.read()
        return (f"refused before {self.errors_before}, now {self.errors()}; on the wire "
                f"{len(self.wire.sealed)} sealed, {self.wire.errors} ICMP errors, "
                f"clear {self.wire.clear}; counted {self.a.packets()}, {self.b.packets()}")

    def outermost(self):
        return [sa for sa in self.sas if sa.number == len(self.config.layers) - 1]

    def assert_no_clear_text(self):
        self.wire.read()
        assert not self.wire.clear, "clear text on the wire"

    def assert_only_ours(self):
        self.assert_no_clear_text()
        ours = {(sa.src, sa.dst, sa.spi) for sa in self.outermost()}
        assert {(p.src, p.dst, p.spi) for p in self.wire.sealed} <= ours, "a packet of another SA"

    def assert_all_counted(self):
        """Every packet of every SA was counted by both sides and on the wire, and none refused."""
        outermost = {sa.spi for sa in self.outermost()}

        def on_wire():
            self.assert_only_ours()
            return {spi: (number, 0)
                    for spi, number in Counter(packet.spi for packet in self.wire.sealed).items()}

        def counts():
            at_a, at_b = self.a.packets(), self.b.packets()
            return at_a, at_b, {spi: at_b[spi] for spi in outermost & set(at_b)}

        # A connection's last acknowledgement may still be under way.
        def agree():
            at_a, at_b, outer = counts()
            return at_a == at_b and outer == on_wire()

        wait_for(agree, lambda: f"on the wire {on_wire()}, at A and B (packets, refused) {counts()}")
        at_a, at_b, _ = counts()
        assert set(at_b) == {sa.spi for sa in self.sas}, "an SA is missing"
        assert all(packets for packets, _ in at_b.values()), "an SA was not used"
        errors = self.errors()
        guest_table.add(self, at_a, at_b, errors)
        assert errors == self.errors_before
