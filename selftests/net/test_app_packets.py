# SPDX-License-Identifier: BSD-2-Clause
"""Every packet of an application is protected, whatever it does to its sockets, and none is clear."""
import pytest

import topology as net
from applications import ACK, FIN, ICMP, ICMP6, PASS_ALL, RST, SYN, accept, connect, datagram_socket, \
    domain, hear, listen, say, stage, talk
from sockets import Refused

PORT = 7100
FAMILIES = [4, 6]
MAPPED = "mapped"


@pytest.fixture(scope="module")
def attached(product):
    with stage() as scene:
        echo = {"name": "echo", "action": "protect", "peer": "peer", "protection": "wire",
                "protocol": ["icmp", "icmpv6"]}
        scene.attach(scene.policy(scene.a), scene.policy(scene.b, rules=[echo, *PASS_ALL]))
        yield scene


@pytest.fixture
def scene(attached):
    """Nothing of the application may be in the clear in the whole test, nor be noted after it."""
    with attached.one_test():
        yield attached
    assert attached.wire.unprotected() == []


def address(host, family):
    return f"::ffff:{host.address(4)}" if family == MAPPED else host.address(family)


def version(family):
    return 6 if family == MAPPED else family


def connected(scene, family=4, client="app", server="app"):
    """(client on a, server on b), connected by their `s`."""
    one, other = scene.actor(scene.a, client), scene.actor(scene.b, server)
    listen(other, PORT, 4 if family == MAPPED else family)
    if family == MAPPED:
        one.do("s = socket.socket(socket.AF_INET6)")
        one.do("s.settimeout(5)")
        one.do(f"s.connect(({address(scene.b, family)!r}, {PORT}))")
    else:
        connect(one, address(scene.b, family), PORT)
    accept(other)
    return one, other


# ---- TCP ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("family", [4, 6, MAPPED])
def test_a_connection_from_its_first_packet_to_its_last(scene, family):
    one, other = connected(scene, family)
    talk(one, other)
    one.do("s.close()")
    assert hear(other) == ""
    other.do("s.close()")
    wire = scene.wire
    wire.wait_flags(SYN, "SYN", "a")
    wire.wait_flags(SYN | ACK, "SYN-ACK, of a request socket", "b")
    wire.wait(lambda packet: packet.secured and packet.payload == b"ping", "data", "a")
    wire.wait(lambda packet: packet.secured and packet.payload == b"ping", "data", "b")
    wire.wait_flags(FIN | ACK, "FIN", "a")
    last = wire.wait_flags(FIN | ACK, "FIN", "b")
    wire.wait(lambda packet: packet.secured and packet.flags == ACK and
              packet.upper[8:12] == (last.seq + 1).to_bytes(4, "big"), "ACK of the last FIN", "a")


@pytest.mark.parametrize("family", FAMILIES)
def test_keep_alive(scene, family):
    one, other = connected(scene, family)
    talk(one, other)
    sent = scene.wire.wait(lambda packet: packet.secured and packet.payload == b"ping", "data", "a")
    one.do("s.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 1)")
    one.do("s.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)")
    scene.wire.wait(lambda packet: packet.secured and packet.flags == ACK and not packet.payload and
                    packet.seq == sent.seq + 3, "keep-alive", "a")


@pytest.mark.parametrize("family", FAMILIES)
def test_abortive_close(scene, family):
    one, other = connected(scene, family)
    one.do("import struct")
    one.do("s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))")
    one.do("s.close()")
    scene.wire.wait_flags(RST | ACK, "RST", "a")
    with pytest.raises(Refused):
        other.do("s.recv(9)")


@pytest.mark.parametrize("family", FAMILIES)
def test_reset_by_a_socket_that_nobody_has_open(scene, family):
    """It is in FIN_WAIT; data that nobody will read are answered by the kernel's own socket."""
    one, other = connected(scene, family)
    talk(one, other)
    other.do("s.close()")
    scene.wire.wait_flags(FIN | ACK, "FIN", "b")
    assert hear(one) == ""
    say(one, "late")
    scene.wire.wait(lambda packet: packet.secured and packet.flags and packet.flags & RST, "RST", "b")


def send_again(scene, actor, packet):
    """The segment once more, from a raw socket of the application."""
    family = 6 if ":" in packet.dst else 4
    actor.do(f"r = socket.socket({domain(family)}, socket.SOCK_RAW, socket.IPPROTO_TCP)")
    actor.do(f"r.sendto(bytes.fromhex({packet.upper.hex()!r}), ({packet.dst!r}, 0))")


@pytest.mark.parametrize("family", FAMILIES)
def test_reset_without_a_socket(scene, family):
    one, other = connected(scene, family)
    talk(one, other)
    data = scene.wire.wait(lambda packet: packet.secured and packet.payload == b"ping", "data", "a")
    other.do("import struct")
    other.do("s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))")
    other.do("s.close()")
    other.do("l.close()")
    scene.wire.wait_flags(RST | ACK, "RST", "b")
    scene.wire.clear()
    send_again(scene, one, data)
    scene.wire.wait(lambda packet: packet.secured and packet.flags and packet.flags & RST, "RST", "b")


@pytest.mark.parametrize("family", FAMILIES)
def test_time_wait(scene, family):
    """The last FIN comes again, as its acknowledgement was lost."""
    one, other = connected(scene, family)
    one.do("s.close()")
    assert hear(other) == ""
    other.do("s.close()")
    last = scene.wire.wait_flags(FIN | ACK, "FIN", "b")
    net.wait_until(lambda: not scene.entries(scene.a, "app_flows"), "the socket is in TIME_WAIT")
    scene.wire.clear()
    send_again(scene, other, last)
    scene.wire.wait_flags(ACK, "another ACK", "a")


@pytest.mark.parametrize("family", FAMILIES)
def test_nobody_listens_any_more(scene, family):
    """Connections live on; others are not begun, and what is not begun is not in the clear."""
    one, other = connected(scene, family)
    other.do("l.close()")
    talk(one, other)
    one.do("t = socket.socket(" + domain(family) + ")")
    one.do("t.setblocking(False)")
    before = scene.b.drops("inner_policy")
    with pytest.raises(Refused):
        one.do(f"t.connect(({scene.b.address(family)!r}, {PORT}))")
    scene.b.wait_drop("inner_policy", before)
    talk(one, other, "still")


def test_a_port_that_the_kernel_chose(scene):
    one, other = scene.actor(scene.a), scene.actor(scene.b)
    listen(other, 0)
    connect(one, scene.b.address(4), other.do("l.getsockname()[1]"))
    accept(other)
    talk(one, other)
    scene.wire.wait_flags(SYN | ACK, "SYN-ACK", "b")


@pytest.mark.parametrize("family", FAMILIES)
def test_one_listener_for_both_families(scene, family):
    one, other = scene.actor(scene.a), scene.actor(scene.b)
    other.do(f"l = socket.create_server(('::', {PORT}), family=socket.AF_INET6, dualstack_ipv6=True)")
    other.do("l.settimeout(5)")
    connect(one, scene.b.address(family), PORT)
    accept(other)
    talk(one, other)
    scene.wire.wait_flags(SYN | ACK, "SYN-ACK", "b")


def test_several_listeners_at_one_port(scene):
    other = scene.actor(scene.b)
    for name in "lm":
        other.do(f"{name} = socket.create_server(('', {PORT}), reuse_port=True)")
    clients = [scene.actor(scene.a) for _ in range(4)]
    for one in clients:
        connect(one, scene.b.address(4), PORT)
    other.do("m.close()")
    one = scene.actor(scene.a)
    connect(one, scene.b.address(4), PORT)
    scene.wire.wait_flags(SYN | ACK, "SYN-ACK", "b")


# ---- descriptors go from hand to hand -----------------------------------------------------------

def hand(giver, taker, name, path):
    """Passes a socket by SCM_RIGHTS; the giver keeps none."""
    taker.do(f"u = socket.socket(socket.AF_UNIX); u.bind({path!r}); u.listen()")
    giver.do(f"u = socket.socket(socket.AF_UNIX); u.connect({path!r})")
    giver.do(f"hand_over(u, {name})")
    taker.do("v, _ = u.accept()")
    taker.do(f"{name} = take_over(v)")
    taker.do(f"{name}.settimeout(5)")
    giver.do(f"{name}.close()")


def test_a_connection_in_other_hands(scene):
    one, other = connected(scene)
    heir = scene.actor(scene.b, "other")
    hand(other, heir, "s", scene.topology.path("connection"))
    talk(one, heir)


def test_a_listener_in_other_hands(scene):
    """Connections that another program accepts are the application's."""
    other, heir, one = scene.actor(scene.b), scene.actor(scene.b, "other"), scene.actor(scene.a)
    listen(other, PORT)
    hand(other, heir, "l", scene.topology.path("listener"))
    connect(one, scene.b.address(4), PORT)
    accept(heir)
    talk(one, heir)


# ---- UDP ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("how", ["sendto", "connect"])
def test_datagrams_from_a_port_that_the_kernel_chose(scene, family, how):
    one, other = scene.actor(scene.a), scene.actor(scene.b)
    datagram_socket(other, family, PORT)
    datagram_socket(one, family)
    to = (scene.b.address(family), PORT)
    if how == "connect":
        one.do(f"s.connect({to!r})")
        say(one, "ask")
    else:
        one.do(f"s.sendto(b'ask', {to!r})")
    other.do("data, sender = s.recvfrom(99)")
    other.do("s.sendto(b'answer', sender)")
    assert hear(one) == "answer"
    scene.wire.wait(lambda packet: packet.secured and packet.payload == b"ask", "question", "a")


def test_datagrams_of_an_ipv6_socket_to_ipv4(scene):
    one, other = scene.actor(scene.a), scene.actor(scene.b)
    datagram_socket(other, 6, PORT)
    other.do("t = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)")
    datagram_socket(one, 6)
    one.do(f"s.sendto(b'ask', ('::ffff:{scene.b.address(4)}', {PORT}))")
    other.do("data, sender = s.recvfrom(99)")
    other.do("s.sendto(b'answer', sender)")
    assert hear(one) == "answer"
    found = scene.wire.wait(lambda packet: packet.payload == b"answer", "answer", "b")
    assert (found.secured, found.src) == (True, scene.b.address(4))


def test_several_datagram_sockets_at_one_port(scene):
    """One of them goes; the other is known on."""
    one, other = scene.actor(scene.a), scene.actor(scene.b)
    for name in "st":
        other.do(f"{name} = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)")
        other.do(f"{name}.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)")
        other.do(f"{name}.bind(('', {PORT})); {name}.settimeout(5)")
    other.do("t.close()")
    datagram_socket(one)
    one.do(f"s.connect(({scene.b.address(4)!r}, {PORT}))")
    say(one, "ask")
    assert hear(other) == "ask"


def test_fragments_of_datagrams(scene):
    one, other = scene.actor(scene.a), scene.actor(scene.b)
    datagram_socket(other, 4, PORT)
    datagram_socket(one)
    one.do(f"s.sendto(b'x' * 9000, ({scene.b.address(4)!r}, {PORT}))")
    assert other.do("len(s.recv(9999))") == 9000


# ---- raw sockets and ICMP -----------------------------------------------------------------------

def echo_socket(actor, family, kind="SOCK_RAW"):
    actor.do(f"s = socket.socket({domain(family)}, socket.{kind}, socket.IPPROTO_ICMP"
             f"{'V6' if family == 6 else ''})")
    actor.do("s.settimeout(5)")


def ask_for_echo(actor, to, family):
    request = 8 if family == 4 else 128
    checksum = 0xffff - (request << 8) - 0x1234 - 1     # of IPv6 the kernel computes it
    actor.do(f"s.sendto(bytes([{request}, 0]) + ({checksum}).to_bytes(2, 'big') + b'\\x12\\x34\\0\\x01',"
             f" ({to!r}, 0))")


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("kind", ["SOCK_RAW", "SOCK_DGRAM"])
def test_echo(scene, family, kind):
    """Host b protects all its ICMP: its kernel answers, whom no application is."""
    scene.a.sysctl("net.ipv4.ping_group_range", "'0 0'")
    one = scene.actor(scene.a)
    echo_socket(one, family, kind)
    ask_for_echo(one, scene.b.address(family), family)
    icmp, request, reply = (ICMP, 8, 0) if family == 4 else (ICMP6, 128, 129)
    for port, kind_of in (("a", request), ("b", reply)):
        scene.wire.wait(lambda packet: packet.secured and packet.proto == icmp and
                        packet.upper[0] == kind_of, f"ICMP type {kind_of}", port)
    at = 20 if (family, kind) == (4, "SOCK_RAW") else 0
    net.wait_until(lambda: one.do(f"s.recv(99)[{at}]") == reply, "the application reads the answer")
