# SPDX-License-Identifier: BSD-2-Clause
"""Every mode carries what hosts send: large packets, fragments, and paths that turn out narrow."""
import pytest

import topology as net
from modes import MODES
from routed import RoutedTopology
from traffic import BULK, DATAGRAMS, clear, datagrams, dropped, ping, transfer


@pytest.fixture(scope="module")
def routed(product):
    with RoutedTopology() as topology:
        topology.applied = None
        yield topology
    assert topology.residue() == []


@pytest.fixture
def mode(routed, request):
    """Both hosts in the mode that the test is for."""
    routed.narrow(1500)
    request.param.apply(routed, first=routed.applied is None)
    routed.applied = request.param
    for host in (routed.a, routed.b):
        host.ip("route", "flush", "cache")
    return request.param


every_mode = pytest.mark.parametrize("mode", MODES, ids=repr, indirect=True)


@every_mode
def test_large_packets(routed, mode):
    """A ping of 60,000 octets and datagrams of 4,000: fragments on both sides of the SA."""
    a, b = routed.a, routed.b
    capture = routed.capture()
    for family in (4, 6):
        answer = ping(a, b.address(family), 60000)
        assert answer.returncode == 0, (family, answer.stdout, dropped(routed))
        lost, sent = datagrams(a, b, family)
        assert sent == DATAGRAMS and lost == 0, (family, lost, sent, dropped(routed))
    assert clear(capture, mode.wire_protocol) == []


@every_mode
def test_narrow_path(routed, mode):
    """1280 octets in the middle: nobody is told by hand, and everything still arrives."""
    a, b = routed.a, routed.b
    routed.narrow(1280)
    capture = routed.capture()
    for family in (4, 6):
        assert transfer(a, b, family) == BULK, (family, dropped(routed))
        for _ in range(3):  # what is too big is lost once in each direction: its sender is told
            answer = ping(a, b.address(family), 60000)
            if answer.returncode == 0:
                break
        assert answer.returncode == 0, (family, answer.stdout, dropped(routed))
        wanted = ping(a, b.address(family), 1372, "-M", "do")
        assert wanted.returncode, "1400 octets cannot pass unfragmented"
        lost, sent = datagrams(a, b, family)
        assert lost == 0 and sent, (family, lost, sent, dropped(routed))
    assert clear(capture, mode.wire_protocol) == []
    learnt = [sa["path_mtu"] for sa in a.json("sa", "list", net.IFNAME)["sas"]
              if sa["dir"] == "out" and sa["path_mtu"]]
    assert learnt and set(learnt) == {1280}, learnt
