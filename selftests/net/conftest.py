# SPDX-License-Identifier: BSD-2-Clause
"""Fixtures of the network tests. Root and the built ipsecbpf are needed; see topology.py."""
import os
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import topology as net  # noqa: E402


def pytest_sessionstart(session):
    net.exit_on_signals()
    if os.geteuid() == 0:
        net.sweep()


def pytest_collection_modifyitems(items):
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs root (network namespaces)"))


@pytest.fixture(scope="session")
def product():
    """The program under test; not a skip, as a build that makes none has failed."""
    if not os.access(net.IPSECBPF, os.X_OK):
        pytest.fail(f"{net.IPSECBPF} is missing: run make")
    return net.IPSECBPF


@pytest.fixture
def wire():
    """Two plain hosts."""
    with net.Topology() as topology:
        yield topology
    assert topology.residue() == []


@pytest.fixture
def lone():
    """One plain host; the test itself speaks from the other end of the wire."""
    with net.Topology(hosts=("a",)) as topology:
        yield topology
    assert topology.residue() == []


@pytest.fixture
def pair(product, wire):
    """Two hosts that protect everything between them, attached and keyed."""
    attach_pair(wire)
    return wire


def attach_pair(topology, **sa_options):
    a, b = topology.a, topology.b
    sas = topology.write("sa.json", net.both_ways(a, b, **sa_options), mode=0o600)
    for host, other in ((a, b), (b, a)):
        policy = topology.write(f"policy-{host.name}.json", net.protect_all(other))
        host.ipsecbpf("attach", net.IFNAME, "--policy", policy, "--sa", sas, "--fresh")
