# SPDX-License-Identifier: BSD-2-Clause
"""Packet-too-big messages that arrive from the path (RFC 1191, 8201; RFC 4301 8.2), made by scapy
from what is seen on the wire: the right one lowers the path MTU of its SA, forged ones nothing.
"""
import functools
import socket

import pytest

import topology as net
from esp_peer import ICMP, IP, UDP, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6, Raw, ip_of, raw
from wire_matrix import HOST, Combination, Matrix, cases

LAYERS = [("esp", "aes128gcm16", "transport"), ("esp", "aes128-sha256", "tunnel"),
          ("ah", "sha256", "transport"), ("ah", "sha256", "tunnel"),
          ("udp", "aes128gcm16", "transport"), ("udp", "aes128gcm16", "tunnel")]
ROUTER = {4: "10.9.0.250", 6: "fd00:9::250"}
TRUSTED = {4: "10.9.0.251", 6: "fd00:9::251"}
FLOOR = {4: 576, 6: 1280}
HEADER = {4: 20, 6: 40}
LONG_AGO = 65536
UDP_SEGMENT = 103
# Each use has SAs of its own, as what is learnt stays.
REFUSED, LOWER, LOWEST, LARGER, EIGHT = [
        [Combination(*layer, tag=tag) for layer in LAYERS]
        for tag in ("refused", "lower", "lowest", "larger", "eight")]
OLD = Combination(*LAYERS[0], tag="old")
RULES = [{"name": "trusted router", "action": "bypass", "remote": list(TRUSTED.values()),
          "direction": "in"}]


@pytest.fixture(scope="module")
def matrix(product):
    with net.Topology(hosts=("a",)) as topology:
        yield Matrix(topology, REFUSED + LOWER + LOWEST + LARGER + EIGHT + [OLD], RULES)
    assert topology.residue() == []


def sent(matrix_, combination, family, size=1000):
    """The IP packet on the wire of a datagram that the host has just sent."""
    peer = combination.out[family]
    seq = matrix_.sa(peer)["seq"]
    with matrix_.udp(family) as sender:
        sender.sendto(bytes(size), (combination.address[family], 7000))
        return ip_of(matrix_.wait_protected(peer.spi, seq))


def too_big(quoted, mtu, family, source=None):
    """The router's message. quoted: octets from the IP header on; over IPv4 as many as routers
    quote of late (RFC 1812 4.3.2.3)."""
    source = source or ROUTER[family]
    if family == 4:
        return IP(src=source, dst=HOST[4]) / ICMP(type=3, code=4, nexthopmtu=mtu) / \
            Raw(raw(quoted)[:548])
    return IPv6(src=source, dst=HOST[6]) / ICMPv6PacketTooBig(mtu=mtu) / Raw(raw(quoted)[:1232])


def changed(packet, family, layer, **what):
    """The quoted packet with another SPI or sequence number."""
    octets = bytearray(raw(packet))
    at = HEADER[family] + {"esp": 0, "ah": 4, "udp": 8}[layer]
    for name, offset in (("spi", at), ("seq", at + 4)):
        if name in what:
            octets[offset:offset + 4] = (what[name] & 0xffffffff).to_bytes(4, "big")
    return bytes(octets)


def path_mtu(matrix_, combination, family):
    return matrix_.sa(combination.out[family])["path_mtu"]


def settle(matrix_, combination, family):
    """Everything sent before has been worked off: what is behind it has come back."""
    matrix_.answers(combination, family)


# What is wrong, and where that is seen: by XDP, for which it is then like any clear text, or by the
# worker. The quotes: (SPI, sequence number, family, layer) -> octets.
FORGED = {
    "wrong-spi": lambda packet, seq, family, layer: changed(packet, family, layer, spi=0x77777),
    "never-sent": lambda packet, seq, family, layer: changed(packet, family, layer, seq=seq + 1),
    "zero": lambda packet, seq, family, layer: changed(packet, family, layer, seq=0),
    "far-ahead": lambda packet, seq, family, layer: changed(packet, family, layer,
                                                            seq=seq - LONG_AGO),
    "no-spi-quoted": lambda packet, seq, family, layer: raw(packet)[:HEADER[family] + 3],
    "cut-before-seq": lambda packet, seq, family, layer: raw(packet)[
        :HEADER[family] + {"esp": 7, "ah": 11, "udp": 15}[layer]],
}


def reason_of(forgery, layer):
    if forgery in ("wrong-spi", "no-spi-quoted"):
        return "policy_discard"
    if forgery == "cut-before-seq" and layer == "esp":
        return "policy_discard"         # XDP reads all eight octets at once
    return "ptb_refused"


@pytest.mark.parametrize("combination, family", **cases(REFUSED))
@pytest.mark.parametrize("forgery", FORGED)
def test_what_quotes_nothing_of_ours_changes_nothing(matrix, combination, family, forgery):
    packet = sent(matrix, combination, family)
    seq = matrix.sa(combination.out[family])["seq"]
    reason = reason_of(forgery, combination.layer)
    before = matrix.host.drops(reason)
    matrix.send(too_big(FORGED[forgery](packet, seq, family, combination.layer), 1300, family))
    matrix.host.wait_drop(reason, before)
    assert path_mtu(matrix, combination, family) in (0, None)


@pytest.mark.parametrize("combination, family", **cases(REFUSED))
def test_a_wrong_checksum_changes_nothing(matrix, combination, family):
    message = too_big(sent(matrix, combination, family), 1300, family)
    octets = bytearray(raw(message))
    octets[HEADER[family] + 2] ^= 0x40
    before = matrix.host.drops("ptb_refused")
    matrix.send(octets)
    matrix.host.wait_drop("ptb_refused", before)
    assert path_mtu(matrix, combination, family) in (0, None)


@pytest.mark.parametrize("combination, family", **cases(REFUSED))
def test_one_of_the_hosts_own_address_is_dropped(matrix, combination, family):
    before = matrix.host.drops("own_source")
    matrix.send(too_big(sent(matrix, combination, family), 1300, family, HOST[family]))
    matrix.host.wait_drop("own_source", before)
    assert path_mtu(matrix, combination, family) in (0, None)


def test_what_was_sent_long_ago_changes_nothing(matrix):
    """More than 65,536 packets ago."""
    first = sent(matrix, OLD, 4)
    peer = OLD.out[4]
    start = matrix.sa(peer)["seq"]
    with matrix.udp(4) as sender:
        sender.setsockopt(socket.SOL_UDP, UDP_SEGMENT, 1)
        while matrix.sa(peer)["seq"] <= start + LONG_AGO:
            for _ in range(128):
                sender.sendto(bytes(64), (OLD.address[4], 7000))
    before = matrix.host.drops("ptb_refused")
    matrix.send(too_big(first, 1300, 4))
    matrix.host.wait_drop("ptb_refused", before)
    assert path_mtu(matrix, OLD, 4) in (0, None)
    matrix.capture.clear()
    matrix.send(too_big(sent(matrix, OLD, 4), 1300, 4))
    net.wait_until(lambda: path_mtu(matrix, OLD, 4) == 1300, "a new one is believed")


@pytest.mark.parametrize("combination, family", **cases(LOWER))
def test_the_right_one_lowers_the_path_mtu(matrix, combination, family):
    """Step by step, and never up again. What is sent then is no larger."""
    learnt = functools.partial(path_mtu, matrix, combination, family)
    for mtu in (1400, 1300):
        matrix.send(too_big(sent(matrix, combination, family), mtu, family))
        net.wait_until(lambda wanted=mtu: learnt() == wanted, f"path MTU {mtu}")
    matrix.send(too_big(sent(matrix, combination, family), 1450, family))
    settle(matrix, combination, family)
    assert learnt() == 1300
    matrix.capture.clear()
    with matrix.udp(family) as sender:
        sender.setsockopt(0, 10, 0)         # IP_MTU_DISCOVER: fragments are welcome
        # As IPv6 first hears of it: the first datagram is answered by a packet too big.
        before = matrix.host.drops("too_big")
        sender.sendto(bytes(1340), (combination.address[family], 7000))
        if family == 6:
            matrix.host.wait_drop("too_big", before)
        else:
            # into a tunnel, the fragments go one by one; else the protected packet is cut
            matrix.capture.wait(lambda f: f[12:14] == b"\x08\x00" and
                                (combination.mode == "tunnel" or ip_of(f).flags == "MF"),
                                "a first fragment")
    settle(matrix, combination, family)
    assert max(len(f) - 14 for f in matrix.capture.taken("a")) <= 1300


@pytest.mark.parametrize("combination, family", **cases(LOWEST))
@pytest.mark.parametrize("mtu", (68, 1))
def test_no_lower_than_every_link_carries(matrix, combination, family, mtu):
    matrix.send(too_big(sent(matrix, combination, family, 300), mtu, family))
    net.wait_until(lambda: path_mtu(matrix, combination, family) == FLOOR[family], "the floor")


@pytest.mark.parametrize("combination, family", **cases(LARGER))
@pytest.mark.parametrize("mtu", (1500, 1501, 9000, 65535))
def test_one_that_is_not_smaller_than_ours_changes_nothing(matrix, combination, family, mtu):
    passed, before = matrix.host.passed("in_ptb"), matrix.dropped()
    matrix.send(too_big(sent(matrix, combination, family), mtu, family))
    settle(matrix, combination, family)
    assert path_mtu(matrix, combination, family) in (0, None)
    assert (matrix.host.passed("in_ptb"), matrix.dropped()) == (passed + 1, before)


@pytest.mark.parametrize("combination, family", **cases(EIGHT))
def test_eight_octets_are_enough_of_esp(matrix, combination, family):
    """RFC 792. Of AH and UDP they do not show the sequence number: not believed."""
    packet = sent(matrix, combination, family)
    reason = {"ah": "ptb_refused", "udp": "policy_discard"}.get(combination.layer)
    before = reason and matrix.host.drops(reason)
    matrix.send(too_big(raw(packet)[:HEADER[family] + 8], 1390, family))
    if reason is None:
        net.wait_until(lambda: path_mtu(matrix, combination, family) == 1390, "path MTU 1390")
    else:
        matrix.host.wait_drop(reason, before)
        assert path_mtu(matrix, combination, family) in (0, None)


@pytest.mark.parametrize("family", (4, 6), ids=("ipv4", "ipv6"))
def test_messages_about_clear_text_obey_policy(matrix, family):
    """Whatever they quote: from a router that policy lets by they pass, from others they do not.
    So do other errors that quote packets of our SAs."""
    clear = (IPv6 if family == 6 else IP)(src=HOST[family], dst=LOWER[0].address[family]) / \
        UDP(sport=1000, dport=2000) / Raw(bytes(100))
    ours = raw(sent(matrix, LOWER[0], family))[:500]
    error = ICMPv6TimeExceeded() if family == 6 else ICMP(type=11)
    for upper in (too_big(clear, 1300, family).payload, error / Raw(raw(clear)), error / Raw(ours)):
        for source, counter in ((ROUTER, "policy_discard"), (TRUSTED, None)):
            message = (IPv6 if family == 6 else IP)(src=source[family], dst=HOST[family]) / upper
            if counter:
                before = matrix.host.drops(counter)
                matrix.send(message)
                matrix.host.wait_drop(counter, before)
            else:
                before = matrix.host.passed("in_bypass")
                matrix.send(message)
                net.wait_until(lambda count=before: matrix.host.passed("in_bypass") > count,
                               "it passes")
    # About an SA of ours, they are the worker's, even from there.
    before = matrix.host.passed("in_bypass"), matrix.host.passed("in_ptb")
    matrix.send(too_big(sent(matrix, LOWER[0], family), 1500, family, TRUSTED[family]))
    settle(matrix, LOWER[0], family)
    assert (matrix.host.passed("in_bypass"), matrix.host.passed("in_ptb")) == \
        (before[0], before[1] + 1)
