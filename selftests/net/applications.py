# SPDX-License-Identifier: BSD-2-Clause
"""Two hosts with an application each, and what an eavesdropper sees of their packets.

Whatever runs in the cgroup `app` is the application, on both hosts; whatever runs in another is not, and
the hosts' own rules let everything pass. A packet that is not known as the application's is therefore
in the clear, for all to see. What is protected is authenticated only, so that the eavesdropper can say
which packet it was.
"""
import contextlib
import ipaddress
import json
import struct

import sockets
import topology as net
from sockets import Cast

SUITE = "null-sha256"
ICV = 16
FIN, SYN, RST, PUSH, ACK = 1, 2, 4, 8, 16
TCP, UDP, ICMP, ICMP6, ESP = 6, 17, 1, 58, 50
PASS_ALL = [{"name": "all", "action": "bypass"}]
PASS = {"in": "bypass", "out": "bypass", "non_ip": "discard"}
EVERYTHING = [{"remote": "any", "class": "protected", "protect": [{"protection": "wire"}]}]


def application(name, match, networks=None, **more):
    return {"name": name, "match": match, "networks": networks or EVERYTHING, "default": "discard",
            **more}


# ---- what is on the wire ------------------------------------------------------------------------

class Packet:
    """What one frame carries; secured: inside ESP. proto None: no IP, or what keeps a link alive."""

    def __init__(self, frame):
        self.frame, self.proto, self.secured = frame, None, False
        self.src_port = self.dst_port = self.flags = self.seq = None
        if net.kind(frame) in ("esp", "clear"):
            self._ip(*net.ethertype(frame))

    def _ip(self, ethertype, at):
        if ethertype == 0x0800:
            end, self.proto = at + struct.unpack_from("!H", self.frame, at + 2)[0], self.frame[at + 9]
            self.src, self.dst = (str(ipaddress.IPv4Address(self.frame[at + n:at + n + 4]))
                                  for n in (12, 16))
            at += (self.frame[at] & 15) * 4
        else:
            end = at + 40 + struct.unpack_from("!H", self.frame, at + 4)[0]
            self.proto = self.frame[at + 6]
            self.src, self.dst = (str(ipaddress.IPv6Address(self.frame[at + n:at + n + 16]))
                                  for n in (8, 24))
            at += 40
        if self.proto == ESP:
            self.secured, self.proto = True, self.frame[end - ICV - 1]
            at, end = at + 8, end - ICV - 2 - self.frame[end - ICV - 2]
        self.upper = self.frame[at:end]
        self._upper(self.upper)

    def _upper(self, upper):
        self.payload = upper
        if self.proto in (TCP, UDP):
            self.src_port, self.dst_port = struct.unpack_from("!HH", upper)
            self.payload = upper[8:]
        if self.proto == TCP:
            self.seq, = struct.unpack_from("!I", upper, 4)
            self.flags = upper[13]
            self.payload = upper[(upper[12] >> 4) * 4:]

    def __repr__(self):
        where = "protected" if self.secured else "CLEAR"
        return f"<{where} {self.proto} {self.src}.{self.src_port} > {self.dst}.{self.dst_port} " \
               f"flags {self.flags} {bytes(self.payload[:16])!r}>"


class Wire:
    """The capture, as packets."""

    def __init__(self, topology):
        self.capture = topology.capture()

    def clear(self):
        self.capture.clear()

    def packets(self, port=None):
        found = [Packet(frame) for frame in self.capture.taken(port)]
        return [packet for packet in found if packet.proto is not None]

    def unprotected(self):
        return [packet for packet in self.packets() if not packet.secured]

    def wait(self, predicate, what, port=None, timeout=5.0):
        """The first packet of which the predicate is true."""
        def matches(frame):
            packet = Packet(frame)
            return packet.proto is not None and predicate(packet)
        try:
            return Packet(self.capture.wait(matches, what, port, timeout))
        except net.Failure as error:
            raise net.Failure(f"{error}: {self.packets()[-12:]}") from None

    def wait_flags(self, flags, what, port=None):
        """A protected TCP segment with exactly these flags."""
        return self.wait(lambda packet: packet.secured and packet.proto == TCP and
                         packet.flags & ~PUSH == flags, what, port)


# ---- the hosts ----------------------------------------------------------------------------------

class Stage(Cast):
    """Hosts a and b of a topology, attached when attach() is called."""

    def __init__(self, topology, wire=True):
        super().__init__(topology)
        self.wire = Wire(topology) if wire else None

    # ---- policy

    def other(self, host):
        return self.b if host is self.a else self.a

    def app(self, networks=None, **more):
        """The application's block."""
        return application("app", {"cgroup": self.cgroup.path("app")}, networks, **more)

    def policy(self, host, *applications, rules=None, protection=None, **more):
        """Without applications: the application as it usually is."""
        peer = self.other(host)
        return net.policy(PASS_ALL if rules is None else rules,
                          {"peer": [address.split("/")[0] for address in peer.addresses]},
                          {"wire": {**net.protection_of(SUITE), **(protection or {})}},
                          applications=list(applications or [self.app()]), **more)

    def plain(self, host):
        """A policy without applications."""
        document = self.policy(host)
        del document["applications"]
        return document

    def sas(self, **more):
        return json.dumps(net.both_ways(self.a, self.b, suite=SUITE, **more))

    def attach(self, *policies, sas=True):
        """policies: of a and b; the usual ones if there are none."""
        for host, policy in zip((self.a, self.b), policies or map(self.policy, (self.a, self.b))):
            host.ipsecbpf("attach", net.IFNAME, "--cgroup", self.cgroup.top, "--policy", "-",
                          input=json.dumps(policy))
        if sas:
            self.apply_sas()

    def apply_sas(self, **more):
        document = self.sas(**more)
        for host in (self.a, self.b):
            host.ipsecbpf("sa", "apply", net.IFNAME, "-", "--fresh", input=document)

    def apply(self, host, policy, check=True):
        return host.ipsecbpf("policy", "apply", net.IFNAME, "-", check=check,
                             input=policy if isinstance(policy, str) else json.dumps(policy))

    def install(self, *policies):
        """As attach(), for one that is attached: those policies, and no SA has ever been."""
        for host, policy in zip((self.a, self.b), policies or map(self.policy, (self.a, self.b))):
            host.ipsecbpf("sa", "flush", net.IFNAME)
            self.apply(host, policy)

    # ---- programs

    def entries(self, host, name):
        return len(sockets.dump(host, name))

    @contextlib.contextmanager
    def one_test(self):
        """What is captured is the test's own, and nothing is noted of it when it has ended."""
        self.wire.clear()
        yield self
        self.end()
        self.nothing_noted(self.a, self.b)


@contextlib.contextmanager
def stage(middle=True, **options):
    """Not attached yet. middle: as in Topology; without it nothing is captured."""
    with net.Topology(middle=middle, **options) as topology:
        scene = Stage(topology, wire=middle)
        try:
            yield scene
        finally:
            scene.close()


# ---- sockets ------------------------------------------------------------------------------------

def any_address(family):
    return "0.0.0.0" if family == 4 else "::"


def domain(family):
    return "socket.AF_INET" if family == 4 else "socket.AF_INET6"


def listen(actor, port, family=4, name="l"):
    actor.do(f"{name} = socket.create_server(({any_address(family)!r}, {port}), family={domain(family)})")
    actor.do(f"{name}.settimeout(5)")


def connect(actor, address, port, name="s"):
    actor.do(f"{name} = socket.create_connection(({address!r}, {port}), 5)")


def accept(actor, listener="l", name="s"):
    actor.do(f"{name} = {listener}.accept()[0]")
    actor.do(f"{name}.settimeout(5)")


def datagram_socket(actor, family=4, port=None, name="s"):
    actor.do(f"{name} = socket.socket({domain(family)}, socket.SOCK_DGRAM)")
    actor.do(f"{name}.settimeout(5)")
    if port is not None:
        actor.do(f"{name}.bind(({any_address(family)!r}, {port}))")


def say(actor, text, name="s"):
    actor.do(f"{name}.sendall({text.encode()!r})")


def hear(actor, name="s"):
    """What has come; "" at the end of a connection."""
    return actor.do(f"{name}.recv(9999).decode()")


def talk(one, other, text="ping", names=("s", "s")):
    """There and back."""
    for (sender, sent_by), (receiver, received_by) in (((one, names[0]), (other, names[1])),
                                                       ((other, names[1]), (one, names[0]))):
        say(sender, text, sent_by)
        assert hear(receiver, received_by) == text
