# SPDX-License-Identifier: BSD-2-Clause
"""strongSwan's libipsec as the peer: ESP in UDP, tunnel mode, with keys that IKE has negotiated.

On host a, charon negotiates and ipsecbpf does ESP with the result; on host b, charon does both. IKE goes
through the attached interface, as essential traffic. Networks are behind the hosts, on lo:

    10.10.1.1  fd00:10:1::1  host a ---- host b  10.10.2.1  fd00:10:2::1
"""
import socket
import struct
import threading

import pytest

import charon
import topology as net
from documents import is_legacy

INNER = {"a": {4: "10.10.1.1", 6: "fd00:10:1::1"}, "b": {4: "10.10.2.1", 6: "fd00:10:2::1"}}
NETWORKS = {"a": "10.10.1.0/24, fd00:10:1::/64", "b": "10.10.2.0/24, fd00:10:2::/64"}
UDP = {"sport": 4500, "dport": 4500}
# Debian's libipsec has no GMAC, and AES-CMAC only with plugins that need much else.
SUITES = [suite for suite in net.SUITES if "gmac" not in suite and "aescmac" not in suite]
PATTERN = b"seen in the clear"
BULK = PATTERN * 20000
WINDOW = 32768
PORT = 5400


def is_null(suite):
    return suite.startswith("null")


# ---- two hosts ----------------------------------------------------------------------------------

def connections(host, other, suites):
    """One connection for each family of outer headers; `suites`: of its children by name."""
    return {f"ipv{family}": {
        "version": 2, "encap": "yes", "mobike": "no", "proposals": "aes128gcm16-prfsha256-x25519",
        "local_addrs": host.address(family), "remote_addrs": other.address(family),
        "local": {"auth": "psk", "id": host.name}, "remote": {"auth": "psk", "id": other.name},
        "children": {f"{name}-ipv{family}": {
            "mode": "tunnel", "local_ts": NETWORKS[host.name], "remote_ts": NETWORKS[other.name],
            "esp_proposals": proposals} for name, proposals in suites.items()}}
        for family in (4, 6)}


def policy(other, suites):
    """What is between the networks is protected by one of the suites, which are of one type."""
    rule = {"name": "networks", "action": "protect", "peer": "peer", "protection": "wire",
            "local": NETWORKS["a"].split(", "), "remote": NETWORKS["b"].split(", ")}
    protection = net.protection_of(suites[0], "tunnel", allow_legacy=True) | {"suites": suites}
    return net.policy([rule], {"peer": [other.address(4), other.address(6)]}, {"wire": protection})


class Tunnel:
    """The hosts of the module, and the CHILD_SA that is between them now."""

    def __init__(self, topology):
        self.topology = topology
        self.a, self.b = topology.a, topology.b
        for host in topology.hosts:
            for address in INNER[host.name].values():
                host.ip("addr", "add", f"{address}/{128 if ':' in address else 32}", "dev", "lo")
        self.suites = []
        self.a.ipsecbpf("attach", net.IFNAME, "--policy", self.write_policy("aes128gcm16"))
        self.charon_a = charon.Charon(self.a, connections(self.a, self.b, {s: s for s in SUITES}), "sesame")
        # The responder takes the first child with the right networks: it has one, with everything.
        self.charon_b = charon.Charon(self.b, connections(self.b, self.a, {"any": ", ".join(SUITES)}),
                                      "sesame")
        self.route_around_charon()
        self.capture = topology.capture()

    def route_around_charon(self):
        """Host a's packets go to eth0, not to charon's TUN device by its table 220.

        Neighbours are fixed, as IPv6 sends no solicitation until DAD of eth0 has ended.
        """
        for family in (4, 6):
            self.a.ip(f"-{family}", "rule", "del", "pref", 220)
            network = NETWORKS["b"].split(", ")[family == 6]
            self.a.ip("route", "add", network, "via", self.b.address(family), "dev", net.IFNAME,
                      "src", INNER["a"][family])
            self.a.neighbour(self.b.address(family), self.b.mac)
            self.b.neighbour(self.a.address(family), self.a.mac)

    def write_policy(self, suite):
        """The policy for all suites of the same type: encryption, or authentication alone."""
        self.suites = [other for other in SUITES if is_null(other) == is_null(suite)]
        return self.topology.write("policy.json", policy(self.b, self.suites))

    def write_sas(self, child, suite, family):
        """The CHILD_SA as our SA file."""
        more = {"protection": "wire", "suite": suite, "encap": UDP, "allow_legacy": is_legacy(suite)}
        a, b = self.a.address(family), self.b.address(family)
        return self.topology.write("sa.json", net.sa_file(child.sa("out", a, b, **more),
                                                          child.sa("in", b, a, **more)), mode=0o600)

    def establish(self, suite, family):
        if suite not in self.suites:
            self.a.ipsecbpf("policy", "apply", net.IFNAME, self.write_policy(suite))
        child = self.charon_a.initiate(f"{suite}-ipv{family}")
        self.a.ipsecbpf("sa", "apply", net.IFNAME, self.write_sas(child, suite, family), "--fresh")
        return child

    def ours(self):
        """The SAs that are in use here, by direction."""
        return {sa["dir"]: sa for sa in self.a.json("sa", "list", net.IFNAME)["sas"]
                if sa["state"] == "valid"}


@pytest.fixture(scope="module")
def tunnel(product):
    missing = charon.missing()
    if missing:
        pytest.skip(f"strongSwan with kernel-libipsec is not installed (make deps): no {missing[0]}")
    with net.Topology() as topology:
        yield Tunnel(topology)
    assert topology.residue() == []


@pytest.fixture
def child(tunnel, request):
    """(suite, outer family, CHILD_SA) that both sides have installed."""
    suite, family = request.param
    tunnel.capture.clear()
    before = tunnel.a.drops()
    yield suite, family, tunnel.establish(suite, family)
    tunnel.charon_a.terminate(f"{suite}-ipv{family}")
    tunnel.a.ipsecbpf("sa", "flush", net.IFNAME)
    risen = {reason: count - before[reason] for reason, count in tunnel.a.drops().items()
             if count > before[reason] and reason != "policy_discard"}
    assert risen == {}


def children(suites, families=(4, 6)):
    cases = [(suite, family) for suite in suites for family in families]
    return pytest.mark.parametrize("child", cases, indirect=True,
                                   ids=[f"{suite}-in-ipv{family}" for suite, family in cases])


# ---- traffic ------------------------------------------------------------------------------------

def sockets(tunnel, family, kind):
    """One socket on each host, bound to its inner address."""
    made = []
    for host in (tunnel.a, tunnel.b):
        one = host.socket(socket.AF_INET6 if family == 6 else socket.AF_INET, kind)
        one.bind((INNER[host.name][family], PORT if kind == socket.SOCK_DGRAM else 0))
        one.settimeout(5)
        made.append(one)
    return made


def echo(tunnel, family, sizes):
    """Datagrams from a to b and back, one after the other, unchanged."""
    a, b = sockets(tunnel, family, socket.SOCK_DGRAM)
    with a, b:
        for size in sizes:
            data = (PATTERN * (size // len(PATTERN) + 1))[:size]
            for here, there in ((a, b), (b, a)):
                here.sendto(data, there.getsockname())
                try:
                    assert there.recv(65536) == data
                except socket.timeout:
                    raise net.Failure(f"datagram of {size} octets: {tunnel.a.drops()}") from None


def bulk(tunnel, family):
    """BULK from a to b and from b to a, over one TCP connection.

    What is in flight fits the socket of libipsec, so that nothing is lost and the counters are exact.
    """
    a, b = sockets(tunnel, family, socket.SOCK_STREAM)
    with a, b:
        for one in (a, b):
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, WINDOW)
        b.listen()
        a.connect(b.getsockname())
        accepted, _ = b.accept()
        with accepted:
            accepted.settimeout(5)
            for source, target in ((a, accepted), (accepted, a)):
                sender = threading.Thread(target=source.sendall, args=(BULK,))
                sender.start()
                assert receive(target, len(BULK)) == BULK
                sender.join()


def receive(connection, octets):
    data = b""
    while len(data) < octets and (more := connection.recv(1 << 20)):
        data += more
    return data


def ping(tunnel, family):
    for host, other in ((tunnel.a, "b"), (tunnel.b, "a")):
        host.run("ping", "-c", 1, "-W", 2, "-I", INNER[host.name][family], INNER[other][family])


# ---- what must be so afterwards -----------------------------------------------------------------

def is_expected(frame, spis):
    """Is it ESP in UDP with one of the SPIs, IKE, or of the link itself?"""
    if net.kind(frame) in ("arp", "nd") or listener_report(frame):
        return True
    upper, at, later = upper_layer(frame)
    if upper != 17 or later:
        return upper == 17      # known by its first fragment, and not to hold PATTERN
    ports, spi = struct.unpack_from("!HH", frame, at), frame[at + 8:at + 12]
    return ports == (500, 500) or (ports == (4500, 4500) and spi in {bytes(4), *spis})


def upper_layer(frame):
    """Protocol above IP, offset of what follows the headers, and whether it is a later fragment."""
    if net.ethertype(frame)[0] == 0x0800:
        return frame[23], 34, struct.unpack_from("!H", frame, 20)[0] & 0x1fff
    if frame[20] == 44:
        return frame[54], 62, struct.unpack_from("!H", frame, 56)[0] & 0xfff8
    return frame[20], 54, 0


def foreign(tunnel, child):
    """Frames on the wire that should not be there."""
    spis = [struct.pack("!I", int(spi, 16)) for spi in child.spi.values()]
    return [frame.hex()[:160] for frame in tunnel.capture.taken() if not is_expected(frame, spis)]


def listener_report(frame):
    """MLDv2, behind a hop-by-hop header, of host b: nothing is attached there."""
    return frame[12:14] == b"\x86\xdd" and frame[20] == 0 and frame[54] == 58 and frame[62] == 143


def check(tunnel, suite, child):
    """Both sides have counted the same packets, and none of them looked wrong."""
    def agreed():
        ours = tunnel.ours()
        return tunnel.charon_b.counters() == (ours["out"]["packets"], ours["in"]["packets"]) and ours

    ours = net.wait_until(agreed, "host b's libipsec has counted what our SAs have")
    for direction, sa in ours.items():
        assert (sa["suite"], sa["encap"], sa["spi"]) == (suite, UDP, int(child.spi[direction], 16))
        assert (sa["icv_failed"], sa["replayed"], sa["lost"]) == (0, 0, 0), sa
        assert sa["seq"] == sa["packets"] > 0
    assert tunnel.charon_a.counters() == (0, 0), "host a's charon did ESP itself"
    assert foreign(tunnel, child) == []
    clear = any(PATTERN in frame for frame in tunnel.capture.taken())
    assert clear == is_null(suite), "the payload is to be seen without encryption, and only then"


@children(SUITES, families=(4,))
def test_suite(tunnel, child):
    """Each suite that libipsec has, with every length of padding."""
    suite, _, sas = child
    for family in (4, 6):
        echo(tunnel, family, [*range(32), 1300])
    check(tunnel, suite, sas)


@children(["aes128-sha256", "aes256gcm16", "chacha20poly1305"])
def test_traffic(tunnel, child):
    """Ping, TCP and large datagrams, in both directions and families, in IPv4 and IPv6."""
    suite, _, sas = child
    for family in (4, 6):
        ping(tunnel, family)
        bulk(tunnel, family)
        echo(tunnel, family, [1300, 4000])
    check(tunnel, suite, sas)


@children(["aes128gcm16"])
def test_rekey(tunnel, child):
    """IKE makes new keys, `sa rotate` takes them, and both sides leave the old ones."""
    suite, family, old = child
    echo(tunnel, 4, [100])
    new = tunnel.charon_a.rekey(f"{suite}-ipv{family}")
    assert set(new.spi.values()).isdisjoint(old.spi.values())
    tunnel.a.ipsecbpf("sa", "rotate", net.IFNAME, tunnel.write_sas(new, suite, family), "--fresh")
    echo(tunnel, 4, [100] * 10)
    net.wait_until(lambda: {way: sa["spi"] for way, sa in tunnel.ours().items()} ==
                   {way: int(spi, 16) for way, spi in new.spi.items()}, "new SAs take over")
    tunnel.capture.clear()
    echo(tunnel, 6, [100] * 10)
    assert foreign(tunnel, new) == []
