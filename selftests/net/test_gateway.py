# SPDX-License-Identifier: BSD-2-Clause
"""Gateways: what hosts behind them send is protected between them, as if it were not there."""
import os
import re
import socket

import pytest
from scapy.all import ESP, ICMP, IP, UDP, Ether, ICMPv6PacketTooBig, ICMPv6TimeExceeded, IPv6, \
    IPv6ExtHdrFragment, Raw, fragment

import topology as net
from gateway import INSIDE, SITES, Gateways, prefixes
from traffic import BULK, KINDS, clear, datagrams, dropped, ping, transfer

BOTH = (4, 6)
DATAGRAMS = 100
TUNNEL = SITES[0]
WRONG_MAC = "02:00:00:00:00:77"


@pytest.fixture(scope="module")
def built(product):
    with Gateways() as topology:
        yield topology
    assert topology.residue() == []


@pytest.fixture
def sites(built):
    """A path as wide as the links, and nobody remembers another one."""
    built.narrow(1500)
    for host in built.hosts:
        for family in BOTH:
            host.ip(f"-{family}", "route", "flush", "cache")
    return built


@pytest.fixture
def plain(sites):
    """The sites in the usual mode."""
    TUNNEL.apply(sites)
    return sites


@pytest.fixture
def site(sites, request):
    request.param.apply(sites)
    return request.param


every_site = pytest.mark.parametrize("site", SITES, ids=repr, indirect=True)
each_family = pytest.mark.parametrize("family", BOTH)


def ip_of(frame):
    """The IP packet in a frame, without padding behind it."""
    packet = Ether(frame)
    return packet[IPv6] if IPv6 in packet else packet[IP] if IP in packet else None


def hops(packet):
    return packet.hlim if IPv6 in packet else packet.ttl


def ip_packet(src, dst, **more):
    return IPv6(src=src, dst=dst, **more) if ":" in src else IP(src=src, dst=dst, **more)


def worker(gateway):
    return gateway.json("stats", net.IFNAME)["worker"]


def learnt(gateway):
    return {sa["path_mtu"] for sa in gateway.json("sa", "list", net.IFNAME)["sas"]
            if sa["dir"] == "out" and sa["path_mtu"]}


# ---- traffic ------------------------------------------------------------------------------------

@every_site
def test_sites_speak(sites, site):
    """Pings both ways, TCP, datagrams and a ping in fragments; nothing of it is clear outside."""
    h1, h2 = sites.h1, sites.h2
    capture = sites.capture()
    for family in BOTH:
        for a, b in ((h1, h2), (h2, h1)):
            answer = ping(a, b.address(family))
            assert answer.returncode == 0, (family, a.name, answer.stdout, dropped(sites))
        assert transfer(h1, h2, family) == BULK, (family, dropped(sites))
        lost, sent = datagrams(h1, h2, family, DATAGRAMS)
        assert sent == DATAGRAMS and lost == 0, (family, lost, sent, dropped(sites))
        answer = ping(h1, h2.address(family), 60000)
        assert answer.returncode == 0, (family, answer.stdout, dropped(sites))
    assert clear(capture, site.wire_protocol) == []


@every_site
def test_narrow_path(sites, site):
    """The hosts inside never meet the narrow link's router, and still everything arrives."""
    h1, h2 = sites.h1, sites.h2
    sites.narrow(1280)
    capture = sites.capture()
    for family in BOTH:
        assert transfer(h1, h2, family) == BULK, (family, dropped(sites))
        for _ in range(3):  # what is too big is lost once in each direction: its sender is told
            answer = ping(h1, h2.address(family), 60000)
            if answer.returncode == 0:
                break
        assert answer.returncode == 0, (family, answer.stdout, dropped(sites))
        assert ping(h1, h2.address(family), 1372, "-M", "do").returncode
        lost, sent = datagrams(h1, h2, family, DATAGRAMS)
        assert sent and lost == 0, (family, lost, sent, dropped(sites))
    assert clear(capture, site.wire_protocol) == []
    assert learnt(sites.g1) == {1280}


@pytest.fixture
def narrow_site(plain):
    """1300 octets on the last link, to h2."""
    for host, ifname in ((plain.h2, net.IFNAME), (plain.g2, INSIDE)):
        host.ip("link", "set", ifname, "mtu", 1300)
    yield plain
    for host, ifname in ((plain.h2, net.IFNAME), (plain.g2, INSIDE)):
        host.ip("link", "set", ifname, "mtu", 1500)


@each_family
def test_narrow_link_behind_the_tunnel(narrow_site, family):
    """The far gateway tells through the tunnel; fragments stay as small as their sender has them."""
    h1, h2 = narrow_site.h1, narrow_site.h2
    capture = narrow_site.capture()
    assert ping(h1, h2.address(family), 1350, "-M", "do").returncode
    route = h1.ip("-j", "route", "get", h2.address(family)).stdout
    assert '"mtu":1300' in route.replace(" ", "")
    assert transfer(h1, h2, family) == BULK, dropped(narrow_site)
    assert ping(h1, h2.address(family), 60000).returncode == 0, dropped(narrow_site)
    assert clear(capture, 50) == []


@pytest.mark.alone      # how much is merged depends on what else the machine does
@each_family
@pytest.mark.parametrize("joined_by", ["sender", "gateway"])
def test_super_packets(plain, family, joined_by):
    """TCP crosses the gateways in frames of many segments, joined by the sender or by GRO."""
    h1, h2, g1, g2 = plain.h1, plain.h2, plain.g1, plain.g2
    sent, taken = worker(g1), worker(g2)
    if joined_by == "sender":
        assert transfer(h1, h2, family) == BULK
    else:
        with plain.offload(h1, net.IFNAME, "tso", "off", "gso", "off"), \
                plain.offload(g1, INSIDE, "gro", "on"):
            assert transfer(h1, h2, family) == BULK
    frames = worker(g1)["host_rx"] - sent["host_rx"]
    segments = worker(g1)["host_rx_segments"] - sent["host_rx_segments"]
    assert segments > BULK // 1500 and segments > 4 * frames, (frames, segments)
    assert worker(g2)["host_tx_coalesced"] - taken["host_tx_coalesced"] > segments // 4


@each_family
def test_segmentation_of_udp(plain, family):
    """UDP super-packets (UDP_SEGMENT) of a host inside arrive as their datagrams."""
    h1, h2 = plain.h1, plain.h2
    with h2.socket(KINDS[family], socket.SOCK_DGRAM) as taker, \
            h1.socket(KINDS[family], socket.SOCK_DGRAM) as sender:
        taker.bind((h2.address(family), 5302))
        taker.settimeout(5)
        sender.setsockopt(socket.IPPROTO_UDP, 103, 1000)
        sender.sendto(b"".join(bytes([i]) * 1000 for i in range(20)), (h2.address(family), 5302))
        assert [taker.recv(2000) for _ in range(20)] == [bytes([i]) * 1000 for i in range(20)]


# ---- size ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("path", [1500, 1400])
@each_family
def test_a_sender_inside_is_told(plain, family, path):
    """The first too big packet of a host inside, and the answer to it, octet by octet."""
    h1, h2 = plain.h1, plain.h2
    mine, other = h1.address(family), h2.address(family)
    plain.narrow(path)
    if path < 1500:
        ping(h1, other, 1350, "-M", "do")       # lost at the router, which tells the gateway
        net.wait_until(lambda: learnt(plain.g1) == {path}, "path MTU at the gateway")
    got = plain.arrivals(h1)
    headers = 28 if family == 4 else 48
    answer = ping(h1, other, 1500 - headers, "-M", "do", "-t", 9)
    assert answer.returncode
    # outer header, SPI and number, IV and ICV; two octets of trailer, all in fours
    mtu = (path - (20 if family == 4 else 40) - 8 - 8 - 16) // 4 * 4 - 2
    error = {4: lambda p: ICMP in p and p[ICMP].type == 3, 6: lambda p: ICMPv6PacketTooBig in p}
    packet = ip_of(got.wait(lambda frame: ip_of(frame) and error[family](ip_of(frame)),
                            "packet too big"))
    assert (packet.src, packet.dst) == (other, mine)
    told = packet[ICMP] if family == 4 else packet[ICMPv6PacketTooBig]
    assert (told.code, told.nexthopmtu if family == 4 else told.mtu) == (4 if family == 4 else 0,
                                                                        mtu)
    quote = bytes(told.payload)
    quoted = (IP if family == 4 else IPv6)(quote)
    assert (quoted.src, quoted.dst, hops(quoted)) == (mine, other, 8)
    assert len(quote) == (548 if family == 4 else 1232)
    assert bytes(type(packet)(rebuilt(packet))) == bytes(packet), "checksums"
    # the kernel of h1 has learnt, and the size is the largest that passes
    assert ping(h1, other, mtu - headers, "-M", "do").returncode == 0, dropped(plain)
    too_big = plain.g1.drops("too_big")
    assert ping(h1, other, mtu - headers + 1, "-M", "do").returncode
    assert plain.g1.drops("too_big") == too_big, "h1 itself holds it back"


def rebuilt(packet):
    """The same packet with the checksums that scapy finds right."""
    packet = packet.copy()
    if packet.version == 4:
        del packet.chksum
        del packet[ICMP].chksum
    else:
        del packet[ICMPv6PacketTooBig].cksum
    return bytes(packet)


# ---- fragments ----------------------------------------------------------------------------------

def interleaved(topology, family):
    """Fragments of two datagrams with the same identification, by two senders inside."""
    h1, g1, h2 = topology.h1, topology.g1, topology.h2
    port = topology.inside_port(h1)
    sources = [h1.address(family), {4: "10.1.0.2", 6: "fd00:1::2"}[family]]
    pieces = []
    for number, source in enumerate(sources):
        udp = UDP(sport=7000 + number, dport=5303) / Raw(bytes([65 + number]) * 2800)
        if family == 4:
            pieces.append(fragment(IP(src=source, dst=h2.address(4), id=77) / udp, 1400))
        else:
            pieces.append(fragments_ipv6(IPv6(src=source, dst=h2.address(6)) / udp, 77))
    frames = [bytes(Ether(src=h1.mac, dst=g1.inside_mac) / piece)
              for both in zip(*pieces) for piece in both]
    with h2.socket(KINDS[family], socket.SOCK_DGRAM) as taker:
        taker.bind((h2.address(family), 5303))
        taker.settimeout(0.5)
        for frame in frames:
            port.send(frame)
        taken = {}
        for _ in sources:
            try:
                data, (source, *_) = taker.recvfrom(4000)
            except socket.timeout:
                break
            taken[source] = data
    return taken, {source: bytes([65 + number]) * 2800 for number, source in enumerate(sources)}, \
        len(frames)


def fragments_ipv6(packet, identification):
    whole = bytes(IPv6(bytes(packet)).payload)
    return [IPv6(src=packet.src, dst=packet.dst) /
            IPv6ExtHdrFragment(nh=17, offset=at // 8, m=int(at + 1400 < len(whole)),
                               id=identification) / Raw(whole[at:at + 1400])
            for at in range(0, len(whole), 1400)]


@each_family
def test_fragments_of_two_senders(plain, family):
    """Put together before protection, each with its own."""
    taken, expected, _ = interleaved(plain, family)
    assert taken == expected, dropped(plain)


@each_family
def test_fragments_are_dropped_if_policy_says_so(sites, family):
    TUNNEL.apply(sites, [TUNNEL.gateway_policy(sites, number, fragments="discard")
                         for number in (1, 2)])
    before = sites.g1.drops("fragment_policy")
    taken, _, count = interleaved(sites, family)
    assert taken == {}
    assert sites.g1.drops("fragment_policy") == before + count
    assert ping(sites.h1, sites.h2.address(family)).returncode == 0, dropped(sites)


# ---- next hop -----------------------------------------------------------------------------------

def is_esp(frame):
    return net.kind(frame) == "esp"


def destinations(capture):
    """Where on the link g1 sends ESP to."""
    capture.wait(is_esp, "ESP from g1", port="g1")
    return {Ether(frame).dst for frame in capture.taken("g1") if is_esp(frame)}


@each_family
@pytest.mark.parametrize("way", ["another router", "on the link"])
def test_next_hop_of_the_tunnel(plain, family, way):
    """The stack sends elsewhere what is for the other site; the tunnel's end is behind the router."""
    h1, h2, g1 = plain.h1, plain.h2, plain.g1
    prefix = prefixes(2)[family == 6]
    wrong = {4: "10.9.1.77", 6: "fd00:9:1::77"}[family]
    routes = {"another router": f"{prefix} via {wrong}", "on the link": prefix}
    nobody = wrong if way == "another router" else h2.address(family)
    g1.neighbour(nobody, WRONG_MAC)
    capture = plain.capture()
    try:
        plain.route(g1, routes[way])
        assert ping(h1, h2.address(family)).returncode == 0, dropped(plain)
    finally:
        plain.forward(g1)
        g1.ip("neigh", "del", nobody, "dev", net.IFNAME)
    assert destinations(capture) == {plain.router_mac(g1)}


@each_family
def test_configured_next_hop(sites, family):
    """The SA file names a neighbour, whatever the routes say of the tunnel's end."""
    g1, h1, h2 = sites.g1, sites.h1, sites.h2
    hop = {4: "10.9.1.88", 6: "fd00:9:1::88"}[family]
    g1.neighbour(hop, WRONG_MAC)
    document = TUNNEL.sas(sites.g1, sites.g2)
    for sa in document["sas"]:
        if sa["src"] == g1.address(family):
            sa["next_hop"] = hop
    TUNNEL.apply(sites)
    g1.ipsecbpf("sa", "flush", net.IFNAME)
    sites.g2.ipsecbpf("sa", "flush", net.IFNAME)
    path = sites.write("sa.json", document, mode=0o600)
    for gateway in sites.outside():
        gateway.ipsecbpf("sa", "apply", net.IFNAME, path, "--fresh")
    capture = sites.capture()
    ping(h1, h2.address(family))
    assert destinations(capture) == {WRONG_MAC}
    g1.neighbour(hop, sites.router_mac(g1))
    capture.clear()
    net.wait_until(lambda: ping(h1, h2.address(family)).returncode == 0, "the neighbour's new MAC")
    g1.ip("neigh", "del", hop, "dev", net.IFNAME)


def test_a_router_with_a_new_mac_address(plain):
    """The tunnel follows, though the stack's own next hop for the site is another one."""
    h1, h2, g1 = plain.h1, plain.h2, plain.g1
    old, new = plain.router_mac(g1), "02:00:00:00:00:f1"
    g1.neighbour("10.9.1.77", WRONG_MAC)
    plain.route(g1, f"{prefixes(2)[0]} via 10.9.1.77")
    try:
        assert ping(h1, h2.address(4)).returncode == 0
        for mac in (new, old):
            plain.set_router_mac(g1, mac)
            capture = plain.capture()
            g1.neighbour("10.9.1.254", mac)
            net.wait_until(lambda: ping(h1, h2.address(4)).returncode == 0, f"router at {mac}")
            capture.clear()
            assert ping(h1, h2.address(4)).returncode == 0
            assert destinations(capture) == {mac}
    finally:
        plain.set_router_mac(g1, old)
        g1.neighbour("10.9.1.254", old)
        plain.forward(g1)


# ---- sources ------------------------------------------------------------------------------------

@pytest.fixture
def trusting(built):
    """g1's kernel lets its own addresses in, so that only ours can be the check that drops."""
    settings = [("all.rp_filter", 0), (f"{INSIDE}.rp_filter", 0), ("all.accept_local", 1),
                (f"{INSIDE}.accept_local", 1)]
    for name, value in settings:
        built.g1.sysctl(f"net.ipv4.conf.{name}", value)
    yield
    for name, value in settings:
        built.g1.sysctl(f"net.ipv4.conf.{name}", 1 if name == "all.rp_filter" else 0)


@each_family
def test_a_host_inside_cannot_speak_as_the_gateway(plain, trusting, family):
    h1, h2, g1 = plain.h1, plain.h2, plain.g1
    port, capture = plain.inside_port(h1), plain.capture()
    before, protected = g1.drops("own_source"), g1.passed("out_protect")
    packet = ip_packet(g1.inside[family == 6], h2.address(family)) / UDP(dport=5304) / b"forged"
    port.send(bytes(Ether(src=h1.mac, dst=g1.inside_mac) / packet))
    g1.wait_drop("own_source", before)
    assert g1.passed("out_protect") == protected
    assert not [frame for frame in capture.taken("g1") if net.kind(frame) in ("esp", "clear")]
    # the gateway itself may, with the same address
    answer = g1.run("ping", "-c", 1, "-W", 1, "-I", g1.inside[family == 6], h2.address(family),
                    check=False)
    assert answer.returncode == 0, (answer.stdout, dropped(plain))
    assert g1.drops("own_source") == before + 1


@each_family
def test_a_packet_from_outside_cannot_come_from_the_gateway(plain, family):
    g1, h1 = plain.g1, plain.h1
    port = plain.port(g1)
    for source in (g1.address(family), g1.inside[family == 6]):
        before = g1.drops("own_source")
        port.send(bytes(Ether(src=WRONG_MAC, dst=g1.mac) /
                        ip_packet(source, h1.address(family)) / UDP(dport=5304) / b"forged"))
        g1.wait_drop("own_source", before)


@each_family
def test_masqueraded_packets_pass_where_policy_says_clear(sites, trusting, family):
    """What masquerading makes of a forwarded packet: the gateway's own source, another's packet."""
    h1, g1 = sites.h1, sites.g1
    internet = {4: "10.9.1.254", 6: "fd00:9:1::fe"}[family]
    TUNNEL.apply(sites, [TUNNEL.gateway_policy(sites, 1, [
            TUNNEL.rule(1), {"name": "internet", "action": "bypass"}]), None])
    port, capture = sites.inside_port(h1), sites.capture()
    before = g1.drops("own_source")
    packet = ip_packet(g1.address(family), internet) / UDP(sport=4711, dport=53) / b"masqueraded"
    packet = type(packet)(bytes(packet))
    port.send(bytes(Ether(src=h1.mac, dst=g1.inside_mac) / packet))
    seen = ip_of(capture.wait(lambda frame: b"masqueraded" in frame, "the packet", port="g1"))
    assert bytes(seen.payload) == bytes(packet.payload)
    assert (seen.src, seen.dst, hops(seen)) == (packet.src, packet.dst, hops(packet) - 1)
    assert g1.drops("own_source") == before


# ---- policy -------------------------------------------------------------------------------------

@each_family
@pytest.mark.parametrize("refused", ["local", "forwarded"])
def test_origin(sites, family, refused):
    """Rules tell the gateway's own traffic from what it forwards."""
    h1, h2, g1 = sites.h1, sites.h2, sites.g1
    TUNNEL.apply(sites, [TUNNEL.gateway_policy(sites, 1, [
            {"name": "refused", "direction": "out", "origin": refused, "remote": prefixes(2),
             "action": "discard"}, TUNNEL.rule(1)]), None])
    before = g1.drops("policy_discard")
    passes = {"forwarded": lambda: ping(h1, h2.address(family)),
              "local": lambda: ping(g1, h2.address(family), 56, "-I", g1.inside[family == 6])}
    for origin, attempt in passes.items():
        answer = attempt()
        assert (answer.returncode != 0) == (origin == refused), (answer.stdout, dropped(sites))
    assert g1.drops("policy_discard") > before


@each_family
def test_host_to_gateway(sites, family):
    """g1 as a host on the road: its own outside address speaks to the site behind g2."""
    g1, h2, g2 = sites.g1, sites.h2, sites.g2
    road = [g1.address(4), g1.address(6)]
    rule = {"name": "road", "action": "protect", "peer": "peer", "protection": "site"}
    TUNNEL.apply(sites, [
            TUNNEL.gateway_policy(sites, 1, [{**rule, "local": road, "remote": prefixes(2)}]),
            TUNNEL.gateway_policy(sites, 2, [{**rule, "local": prefixes(2), "remote": road}])])
    number, router = (0, "10.9.1.254") if family == 4 else (1, "fd00:9:1::fe")
    sites.route(g1, f"{prefixes(2)[number]} via {router}")
    capture = sites.capture()
    try:
        for sender, taker in ((g1, h2), (h2, g1)):
            answer = ping(sender, taker.address(family), 1300)
            assert answer.returncode == 0, (sender.name, answer.stdout, dropped(sites))
        assert transfer(g1, h2, family) == BULK, dropped(sites)
        assert transfer(h2, g1, family) == BULK, dropped(sites)
    finally:
        sites.forward(g1)
    assert clear(capture, 50) == []
    # the site's hosts are told as well
    assert ping(h2, g1.address(family), 1452, "-M", "do").returncode
    assert g2.drops("too_big")


@each_family
def test_clear_text_of_the_other_site_is_dropped(plain, family):
    """Whoever claims outside to be of the other site does not reach this one."""
    g1, h1, h2 = plain.g1, plain.h1, plain.h2
    port, got, before = plain.port(g1), plain.arrivals(h1), g1.drops("clear_text")
    port.send(bytes(Ether(src=WRONG_MAC, dst=g1.mac) /
                    ip_packet(h2.address(family), h1.address(family)) / UDP() / b"forged"))
    g1.wait_drop("clear_text", before)
    assert not [frame for frame in got.taken() if b"forged" in frame]


# ---- hop limit ----------------------------------------------------------------------------------

@each_family
def test_hop_limit(plain, family):
    """Each gateway takes one from the inner one; the outer one begins anew."""
    h1, h2 = plain.h1, plain.h2
    capture, got = plain.capture(), plain.arrivals(h2)
    assert ping(h1, h2.address(family), 56, "-t", 10).returncode == 0
    sent = ip_of(capture.wait(is_esp, "ESP from g1", port="g1"))
    assert hops(sent) == 64
    request = ip_of(got.wait(lambda frame: ip_of(frame) and ip_of(frame).src == h1.address(family),
                             "request"))
    assert hops(request) == 8


@each_family
@pytest.mark.parametrize("hop_limit, teller", [(1, "g1"), (2, "g2")])
def test_time_exceeded(plain, family, hop_limit, teller):
    """Told by the gateway where it happens; the far one's answer comes through the tunnel."""
    h1, h2 = plain.h1, plain.h2
    capture, got = plain.capture(), plain.arrivals(h1)
    ping(h1, h2.address(family), 56, "-t", hop_limit)
    expired = {4: lambda p: ICMP in p and p[ICMP].type == 11, 6: lambda p: ICMPv6TimeExceeded in p}
    packet = ip_of(got.wait(lambda frame: ip_of(frame) and expired[family](ip_of(frame)),
                            "time exceeded"))
    assert packet.src == getattr(plain, teller).inside[family == 6]
    assert clear(capture, 50) == []


# ---- the document -------------------------------------------------------------------------------

DOCUMENT = os.path.join(net.HERE, "..", "..", "doc", "gateway.md")


def test_the_document(product):
    """Every command of doc/gateway.md, in its order, on gateways with addresses and nothing more."""
    with open(DOCUMENT) as file:
        blocks = re.findall(r"^```sh (\w)\n(.*?)^```$", file.read(), re.M | re.S)
    with Gateways(forwarding=False) as sites:
        gateways, capture = dict(zip("ab", sites.outside())), sites.capture()
        where = {name: sites.path(f"etc-{name}") for name in gateways}
        for path in where.values():
            os.mkdir(path, mode=0o700)
        for name, commands in blocks:
            if name == "b" and "--fresh" in commands:       # "take the file to b"
                os.link(f"{where['a']}/sa.json", f"{where['b']}/sa.json")
            gateways[name].run("env", f"PATH={net.BUILD}:{os.environ['PATH']}", "sh", "-e", "-c",
                               commands.replace("/etc/ipsecbpf", where[name]))
        for family in BOTH:
            assert ping(sites.h1, sites.h2.address(family), 3000).returncode == 0, dropped(sites)
        inside = tuple(prefix.split("0/")[0].split(":/")[0] for number in (1, 2)
                       for prefix in prefixes(number))
        seen = [ip_of(frame) for frame in capture.taken() if ip_of(frame)]
        assert {packet.src for packet in seen if ESP in packet} == {"10.9.1.1", "10.9.2.1"}
        assert not [packet for packet in seen if packet.src.startswith(inside)]
    assert len(blocks) == 7 and sites.residue() == []


# ---- nested -------------------------------------------------------------------------------------

@pytest.fixture
def end_to_end(plain):
    """The hosts inside protect end to end, in transport mode, what the gateways tunnel."""
    h1, h2 = plain.h1, plain.h2
    sas = plain.write("sa-hosts.json", net.both_ways(h1, h2), mode=0o600)
    for host, other in ((h1, h2), (h2, h1)):
        policy = plain.write(f"policy-{host.name}.json", net.protect_all(other))
        host.ipsecbpf("attach", net.IFNAME, "--policy", policy, "--sa", sas, "--fresh")
    yield plain
    for host in (h1, h2):
        host.ipsecbpf("detach", net.IFNAME, "--open")


def test_esp_of_the_hosts_inside_passes_the_tunnel(end_to_end):
    """ESP that is not ours is traffic like any other: wrapped, told its size, put together."""
    plain = end_to_end
    h1, h2 = plain.h1, plain.h2
    outside, inside = plain.capture(), plain.departures()
    plain.narrow(1400)
    for family in BOTH:
        assert ping(h1, h2.address(family)).returncode == 0, (family, dropped(plain))
        assert transfer(h1, h2, family) == BULK, (family, dropped(plain))
        for _ in range(4):      # lost once on each of the two levels, and in each direction
            answer = ping(h1, h2.address(family), 60000)
            if answer.returncode == 0:
                break
        assert answer.returncode == 0, (family, dropped(plain))
    assert clear(outside, 50) == [] and clear(inside, 50) == []
    assert learnt(plain.g1) == {1400}
    assert learnt(h1) == {1400 - 20 - 32 - 2, (1400 - 40 - 32) // 4 * 4 - 2}
