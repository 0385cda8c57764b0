# SPDX-License-Identifier: BSD-2-Clause
"""The outer header of a tunnel, made from the inner one, and the inner one, changed by the outer
(RFC 4301 5.1.2, RFC 6040): DSCP, DF, ECN and flow label, in all pairs of families. scapy is the
peer.
"""
import itertools
import socket

import pytest

import topology as net
from esp_peer import IP, IPv6
from wire_matrix import Combination, Matrix, cases

IP_RECVTOS, IP_MTU_DISCOVER = 13, 10
NOT_ECT, ECT_1, ECT_0, CE = range(4)
# RFC 6040 figure 4, by inner and outer field: what the host hears. None: the packet is dropped.
MERGED = {
    NOT_ECT: {NOT_ECT: NOT_ECT, ECT_0: NOT_ECT, ECT_1: NOT_ECT, CE: None},
    ECT_0: {NOT_ECT: ECT_0, ECT_0: ECT_0, ECT_1: ECT_1, CE: CE},
    ECT_1: {NOT_ECT: ECT_1, ECT_0: ECT_1, ECT_1: ECT_1, CE: CE},
    CE: {NOT_ECT: CE, ECT_0: CE, ECT_1: CE, CE: CE},
}
LAYERS = [("esp", "aes128gcm16"), ("ah", "sha256"), ("udp", "aes128gcm16")]
COPIED = [Combination(*layer, "tunnel", outer=outer) for layer in LAYERS for outer in (None, 4, 6)]
FIXED = [Combination(*LAYERS[0], "tunnel", outer=outer, tag=tag, dscp=dscp)
         for tag, dscp in (("ef", 46), ("be", 0)) for outer in (None, 4, 6)]
# The DF bit of IPv4 around IPv4 and around IPv6.
DF = [Combination(*layer, "tunnel", outer=outer, tag=rule, df=rule)
      for layer in LAYERS[:2] for rule in ("set", "clear", "copy") for outer in (None, 4)]


@pytest.fixture(scope="module")
def matrix(product):
    with net.Topology(hosts=("a",)) as topology:
        yield Matrix(topology, COPIED + FIXED + DF)
    assert topology.residue() == []


def sent(matrix_, combination, family, tos, df=True):
    """(outer, inner) of a datagram that the host's kernel sends with that traffic class. Both are
    what scapy makes of each other, by open_exact()."""
    peer = combination.out[family]
    seq = matrix_.sa(peer)["seq"]
    with matrix_.udp(family) as sender:
        if family == 4:
            sender.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, tos)
            sender.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, 2 if df else 0)
        else:
            sender.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, tos)
        sender.sendto(b"data", (combination.address[family], 7000))
        outer, _, inner = peer.open_exact(matrix_.wait_protected(peer.spi, seq))
    assert traffic_class(inner) == tos
    return outer, inner


def traffic_class(packet):
    return packet.tos if packet.version == 4 else packet.tc


@pytest.mark.parametrize("combination, family", **cases(COPIED))
def test_dscp_ecn_and_flow_label_are_copied(matrix, combination, family):
    for tos in (0, 46 << 2, 10 << 2 | ECT_0, 34 << 2 | ECT_1, 63 << 2 | CE):
        outer, inner = sent(matrix, combination, family, tos)
        assert traffic_class(outer) == tos
        if outer.version == 6:
            assert outer.fl == (inner.fl if family == 6 else 0)
            assert family == 4 or outer.fl != 0, "the kernel gives each flow a label"


@pytest.mark.parametrize("combination, family", **cases(FIXED))
def test_a_fixed_dscp_leaves_ecn_alone(matrix, combination, family):
    for tos in (0, 10 << 2 | ECT_0, 34 << 2 | CE):
        outer, _ = sent(matrix, combination, family, tos)
        assert traffic_class(outer) == combination.more["dscp"] << 2 | tos & 3


@pytest.mark.parametrize("combination, family",
                         **cases(DF))
@pytest.mark.parametrize("df", (True, False), ids=("df", "no-df"))
def test_df_of_the_outer_header(matrix, combination, family, df):
    """Copied, or as the SA says; around IPv6, which nobody fragments on its way, copied is set."""
    outer, inner = sent(matrix, combination, family, 0, df)
    if outer.version == 6:
        return      # no such bit; open_exact() has compared the rest
    if family == 4:
        assert ("DF" in inner.flags) == df
    rule = combination.more["df"]
    assert ("DF" in outer.flags) == (rule == "set" or rule == "copy" and (family == 6 or df))


def received_tos(receiver, family):
    """(payload, traffic class) of the next datagram."""
    data, ancillary, _, _ = receiver.recvmsg(100, 100)
    kinds = {4: (socket.IPPROTO_IP, socket.IP_TOS), 6: (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)}
    (tos,) = [value[0] for level, kind, value in ancillary if (level, kind) == kinds[family]]
    return data, tos


@pytest.mark.parametrize("combination, family", **cases(COPIED))
def test_congestion_marks_of_the_outer_header_arrive(matrix, combination, family):
    """All sixteen cells of RFC 6040; the DSCP stays the inner header's."""
    peer = combination.inbound[family]
    ends = {"src": peer.sa["src"], "dst": peer.sa["dst"]}
    lost = 0
    before = matrix.host.drops("ecn")
    with matrix.udp(family) as receiver:
        if family == 4:
            receiver.setsockopt(socket.IPPROTO_IP, IP_RECVTOS, 1)
        else:
            receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
        port = receiver.getsockname()[1]
        for inner_ecn, outer_ecn in itertools.product(range(4), range(4)):
            inner = combination.datagram(family, port, bytes((inner_ecn, outer_ecn)))
            setattr(inner, "tos" if family == 4 else "tc", 18 << 2 | inner_ecn)
            header = IPv6(tc=46 << 2 | outer_ecn, **ends) if peer.v6 else \
                IP(tos=46 << 2 | outer_ecn, **ends)
            matrix.send(peer.seal(inner, header=header))
            wanted = MERGED[inner_ecn][outer_ecn]
            if wanted is None:
                lost += 1
                matrix.host.wait_drop("ecn", before, lost)
                continue
            data, tos = received_tos(receiver, family)
            assert (data, tos) == (bytes((inner_ecn, outer_ecn)), 18 << 2 | wanted)
    assert matrix.host.drops("ecn") == before + 1
