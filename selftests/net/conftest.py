# SPDX-License-Identifier: BSD-2-Clause
"""Fixtures of the network tests. Root and the built ipsecbpf are needed; see topology.py."""
import atexit
import os
import shutil
import sys

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import side_by_side  # noqa: E402
import sockets  # noqa: E402
import topology as net  # noqa: E402

STILL_RUNNING = 60      # seconds that xdist leaves its processes for their clean-up; else 10


def pytest_configure(config):
    config.addinivalue_line("markers", "alone: no other test runs meanwhile")
    config.ending = side_by_side.Ending()
    config.turns = side_by_side.NoTurns()
    if hasattr(config, "workerinput"):
        atexit.unregister(net.remove_roots)
        config.turns = side_by_side.sign_in(config.workerinput["turns"])


def pytest_sessionstart(session):
    """In the process that deals out, or the only one."""
    if hasattr(session.config, "workerinput") or os.geteuid() != 0:
        return
    net.sweep()
    net.make_roots()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session):
    net.close_all()
    if session.config.ending.directory:
        shutil.rmtree(session.config.ending.directory)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config):
    from xdist.workermanage import NodeManager
    NodeManager.EXIT_TIMEOUT = STILL_RUNNING
    config.ending.directory = side_by_side.shared_directory()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node):
    node.workerinput["turns"] = node.config.ending.directory


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from xdist.scheduler import LoadScopeScheduling
    return side_by_side.scheduler(LoadScopeScheduling, config, log)


def pytest_collection_modifyitems(config, items):
    if hasattr(config, "workerinput"):
        side_by_side.large_first(items)
    if os.geteuid() != 0:
        for item in items:
            item.add_marker(pytest.mark.skip(reason="needs root (network namespaces)"))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_protocol(item):
    with item.config.turns.take(item.get_closest_marker("alone") is not None):
        yield


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


@pytest.fixture
def fresh(product):
    """Host a of two, with a cgroup, for a test that attaches it by itself."""
    with sockets.scene() as scene:
        yield scene


@pytest.fixture
def scene(attached):
    """What the tests of a file share, for one of them."""
    with attached.one_test():
        yield attached


def attach_pair(topology, **sa_options):
    a, b = topology.a, topology.b
    sas = topology.write("sa.json", net.both_ways(a, b, **sa_options), mode=0o600)
    for host, other in ((a, b), (b, a)):
        policy = topology.write(f"policy-{host.name}.json", net.protect_all(other))
        host.ipsecbpf("attach", net.IFNAME, "--policy", policy, "--sa", sas, "--fresh")
