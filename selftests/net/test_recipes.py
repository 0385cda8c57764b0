# SPDX-License-Identifier: BSD-2-Clause
"""doc/applications.md, command by command, with unchanged daemons and clients: each recipe without
its policy, where the eavesdropper reads everything, and with it, where only those packets of that
program go as the policy says."""
import base64
import copy
import os
import re
import secrets
import socket
import struct
import subprocess

import pytest

import daemons
import topology as net
from traffic import BULK, KINDS, transfer

DOCUMENT = os.path.join(net.HERE, "..", "..", "doc", "applications.md")
EXAMPLES = os.path.join(net.HERE, "..", "..", "schemas", "examples", "good", "recipes")
SETUP = "Before the recipes"
PASSWORD = b"open-sesame-7301"
PASSWORDS = [PASSWORD, base64.b64encode(PASSWORD), base64.b64encode(b"\0alice\0" + PASSWORD)]
REPORT = b"The figures of the third quarter."
ESP, AH, TCP = 50, 51, 6
FIN, SYN, ACK = 1, 2, 16
MARK = 0x88b5         # an ethertype for experiments


class Recipe:
    """heading: in the document. ports: of its server. protections: whose SAs must carry all of it.
    hidden: what must not be readable on the wire; in the clear, one of it is. visible: what is
    readable as it is only authenticated. says: what the client's last words contain."""

    def __init__(self, heading, ports, protections, hidden, says=REPORT, visible=None, typing=None):
        self.heading = heading
        self.ports = ports
        self.protections = protections
        self.hidden = hidden
        self.says = says
        self.visible = visible
        self.typing = typing

    def __repr__(self):
        return self.heading.split(":")[0].replace(",", "").replace(" ", "-").lower()


LOGIN = ("assword:", PASSWORD.decode() + "\r")
RECIPES = [
    Recipe("FTP, fast", [21], {"secret", "authentic"}, PASSWORDS, visible=REPORT),
    Recipe("FTP, secure", [21], {"secret"}, PASSWORDS + [REPORT]),
    Recipe("Mail boxes: POP3 and IMAP", [110, 143], {"secret"}, PASSWORDS + [REPORT]),
    Recipe("Mail between two hosts: SMTP", [25], {"secret"}, [REPORT], says=b""),
    Recipe("Terminal sessions: telnet", [23], {"secret"}, PASSWORDS + [REPORT], typing=[
        ("login:", "alice\r"), LOGIN, (r"\$ ", "cat report.txt; exit\r")]),
    Recipe("Windows: X11", [6001], {"secret"}, [b"open-sesame-7301"], says=b"The X.Org Foundation"),
    Recipe("OpenSSH: authenticated packets", [22], {"ah"}, PASSWORDS + [REPORT], typing=[LOGIN],
           visible=b"SSH-2.0-OpenSSH"),
]
every_recipe = pytest.mark.parametrize("recipe", RECIPES, ids=repr)


class Theatre:
    """The hosts, furnished, keyed and attached; recipes are played one after the other."""

    def __init__(self, topology):
        self.topology = topology
        self.document = daemons.read_document(DOCUMENT)
        self.stage = daemons.Stage(topology, topology.path("recipes"))
        self.rename = False         # to programs that nobody runs
        self.copy_policies()
        for block in self.document[SETUP]:
            self.run(block)

    def copy_policies(self):
        """Cgroups have other names here. "wrong-": the same for programs that nobody runs."""
        os.mkdir(self.stage.directory)
        for name in os.listdir(EXAMPLES):
            text = open_text(os.path.join(EXAMPLES, name))
            text = text.replace('"/clients/', f'"{self.stage.cgroup.path()}/a.slice/clients/')
            self.topology.write(f"recipes/{name}", text)
            self.topology.write(f"recipes/wrong-{name}", re.sub(
                    r'("executable": "/usr/s?bin/|"unit": "|/clients/)', r"\1no-", text))

    def run(self, block, **options):
        """As Stage.run(), with socket hooks nowhere but in the cgroup of this run."""
        if block.host == "b":
            for path in re.findall(r"sa apply eth0 (\S+)", block.commands):
                self.carry(path)
        block = copy.copy(block)
        block.commands = block.commands.replace(
                "attach eth0 ", f"attach eth0 --cgroup {self.stage.cgroup.top} ")
        if self.rename:
            block = daemons.without(block, "ipsecbpf run")
            apply = "policy apply eth0 "
            block.commands = block.commands.replace(apply, f"{apply}wrong-")
        return self.stage.run(block, **options)

    def carry(self, path):
        """To b, by a safe way."""
        text = self.topology.a.run("cat", path).stdout
        self.topology.b.run("sh", "-c", f"umask 077; cat > {path}", input=text)

    def play(self, recipe, protected):
        """What its clients have said. Without `protected`, commands of ipsecbpf are left out."""
        said = []
        for block in self.document[recipe.heading]:
            if not protected:
                block = daemons.without(block, "ipsecbpf")
            if block.typed:
                said.append(self.stage.type(block, recipe.typing))
            elif block.ports:
                self.run(block)
            else:
                said.append(self.run(block, timeout=15).stdout)
        return said

    def reset(self):
        """The policy that lets everything pass."""
        self.rename = False
        self.stage.end()
        for host in self.topology.hosts:    # keys are made anew
            host.run("sh", "-c", "rm -f /etc/ipsecbpf/*.json")
        for host in self.topology.hosts:
            host.ipsecbpf("sa", "flush", net.IFNAME)
            host.ipsecbpf("policy", "apply", net.IFNAME, f"{self.stage.directory}/start.json")

    def settled(self, capture, port=None):
        """Its frames, once it has what each host has sent until now: a last frame of each tells."""
        for host in self.topology.hosts:
            mark = struct.pack("!6s6sH", b"\xff" * 6, bytes.fromhex(host.mac.replace(":", "")),
                               MARK) + secrets.token_bytes(46)
            with net.InNetns(net.netns_path(host.netns)):
                with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
                    sender.bind((net.IFNAME, 0))
                    sender.send(mark)
            capture.wait(lambda frame: frame[:60] == mark, f"the last frame of {host.name}")
        return capture.taken(port)

    def sas(self):
        """{(protocol on the wire, SPI): protection}, as both hosts have them."""
        return {({"esp": ESP, "ah": AH}[sa["proto"]], sa["spi"]): sa["protection"]
                for host in self.topology.hosts
                for sa in host.json("sa", "list", net.IFNAME)["sas"]}


@pytest.fixture(scope="module")
def theatre(product):
    with net.Topology() as topology:
        theatre = Theatre(topology)
        yield theatre
        theatre.stage.end()
    theatre.stage.cgroup.close()    # supervisors were in it as well
    assert topology.residue() == []


@pytest.fixture
def hosts(theatre):
    yield theatre
    theatre.reset()


# ---- what is on the wire ------------------------------------------------------------------------

def packets(frames):
    """(protocol, payload of IPv4) of what the hosts say to each other; ARP, ND, MLD left out."""
    for frame in frames:
        kind, at = net.ethertype(frame)
        if kind == 0x0800:
            header = (frame[at] & 15) * 4
            length, = struct.unpack_from("!H", frame, at + 2)
            yield frame[at + 9], frame[at + header:at + length]
        elif kind != MARK and net.kind(frame) not in ("arp", "nd", "mld"):
            yield kind, frame


def spi_of(protocol, payload):
    return struct.unpack_from("!I", payload, 0 if protocol == ESP else 4)[0]


def inside(protocol, payload):
    """The TCP segment in a packet that is clear or authenticated without encryption."""
    if protocol == TCP:
        return payload
    return payload[8:] if protocol == ESP else payload[(payload[1] + 2) * 4:]


def ports_of(segment):
    return struct.unpack_from("!HH", segment)


def overheard(frames):
    """What an eavesdropper puts together who takes everything for TCP: the octets of each flow in
    the order of their numbers, and of all packets as they came."""
    flows, everything = {}, b""
    for protocol, payload in packets(frames):
        everything += payload
        segment = inside(protocol, payload) if protocol in (TCP, ESP, AH) else b""
        if len(segment) < 20:
            continue
        number, = struct.unpack_from("!I", segment, 4)
        flows.setdefault(segment[:4], {})[number] = segment[(segment[12] >> 4) * 4:]
    return everything + b"".join(flow[number] for flow in flows.values() for number in sorted(flow))


def legible(frames, needles):
    heard = overheard(frames)
    return [needle for needle in needles if needle in heard]


def wait_for_mail(theatre):
    for host, path, text in ((theatre.topology.b, "/var/mail/alice", "third quarter"),
                             (theatre.topology.a, "/var/mail/root", "second quarter")):
        net.wait_until(lambda: text in host.run("cat", path, check=False).stdout,
                       f"mail on host {host.name}", 15)


def check_outcome(theatre, recipe, said):
    """The programs have done what they are for."""
    assert not recipe.says or recipe.says.decode() in "".join(said), said
    if recipe.heading.startswith("FTP"):
        assert sum(REPORT.decode() in text for text in said) == 2, said
        copies = theatre.topology.b.run(
                "sh", "-c", "cd /home/alice; cat copy-*; rm -f copy-*", check=False).stdout
        assert copies.count(REPORT.decode()) == (2 if "fast" in recipe.heading else 0)
    if recipe.heading.startswith("Mail boxes"):
        assert sum(text.count(REPORT.decode()) for text in said) == 3, said
    if recipe.heading.startswith("Mail between"):
        wait_for_mail(theatre)
    theatre.topology.a.run("rm", "-f", "/var/mail/root")
    theatre.topology.b.run("rm", "-f", "/var/mail/alice")


# ---- the recipes --------------------------------------------------------------------------------

@every_recipe
def test_without_policy(hosts, recipe):
    """The eavesdropper reads it all; which shows as well that it would, were it there."""
    capture = hosts.topology.capture()
    check_outcome(hosts, recipe, hosts.play(recipe, protected=False))
    check_all_is_legible(recipe, hosts.settled(capture))


def check_all_is_legible(recipe, frames):
    assert {protocol for protocol, _ in packets(frames)} == {TCP}
    if recipe.visible is not None:
        assert legible(frames, [recipe.visible])
    if recipe.protections != {"ah"}:        # OpenSSH hides by itself
        assert legible(frames, recipe.hidden), "not even in the clear"


@every_recipe
def test_named_wrongly(hosts, recipe):
    """A policy for programs of other names changes nothing for these."""
    capture = hosts.topology.capture()
    hosts.rename = True
    check_outcome(hosts, recipe, hosts.play(recipe, protected=True))
    check_all_is_legible(recipe, hosts.settled(capture))


@every_recipe
def test_recipe(hosts, recipe):
    """All of the program's packets, and only they, go as its policy says."""
    capture = hosts.topology.capture()
    check_outcome(hosts, recipe, hosts.play(recipe, protected=True))
    frames = hosts.settled(capture)
    seen = check_protection(hosts, recipe.protections, frames)
    assert legible(frames, recipe.hidden) == []
    if recipe.visible is not None:
        assert legible(frames, [recipe.visible]), "authenticated is not encrypted"
    if recipe.protections == {"secret", "authentic"}:
        check_data_connections(seen["authentic"])
    check_others(hosts, recipe, capture)


def check_protection(hosts, protections, frames):
    """{protection: its packets}: both directions of each, and nothing else."""
    sas, seen, directions = hosts.sas(), {}, set()
    for protocol, payload in packets(frames):
        assert protocol in (ESP, AH), (protocol, payload[:40].hex())
        sa = protocol, spi_of(protocol, payload)
        assert sa in sas, f"an SPI of nobody: {sa[1]:#x}"
        seen.setdefault(sas[sa], []).append((protocol, payload))
        directions.add(sa)
    assert set(seen) == protections
    assert len(directions) == 2 * len(seen)
    return seen


def check_data_connections(seen):
    """They are authenticated, and on ports that nobody could have put into a rule: passive ones on
    two that were chosen as they opened, active ones on two others."""
    segments = [inside(*packet) for packet in seen]
    assert not any(21 in ports_of(segment) for segment in segments)
    opened = {ports_of(segment) for segment in segments if segment[13] & (SYN | ACK) == SYN}
    assert len(opened) == 4, opened
    policies = "".join(open_text(os.path.join(EXAMPLES, f"ftp-fast-{side}.json"))
                       for side in ("server", "client"))
    assert not [port for pair in opened for port in pair if re.search(rf"\b{port}\b", policies)]
    closed = {ports_of(segment) for segment in segments if segment[13] & FIN}
    assert closed == opened | {pair[::-1] for pair in opened}, "to the last packet"


def open_text(path):
    with open(path) as file:
        return file.read()


def check_others(hosts, recipe, capture):
    """Another program of the same host: it speaks with the same peer as before, in the clear; and
    it gets nothing from a server that demands protection."""
    a, b = hosts.topology.a, hosts.topology.b
    capture.clear()
    assert transfer(a, b, 4) == BULK and transfer(b, a, 4) == BULK
    assert {protocol for protocol, _ in packets(hosts.settled(capture))} == {TCP}
    for port in recipe.ports:
        with a.socket(KINDS[4], socket.SOCK_STREAM) as stranger:
            stranger.settimeout(0.3)
            with pytest.raises(TimeoutError):
                stranger.connect((b.address(4), port))


@pytest.mark.parametrize("recipe", [RECIPES[0], RECIPES[-1]], ids=repr)
def test_one_side_alone(hosts, recipe):
    """Where the client's policy does not know the program, a server that demands protection does
    not answer it: no password is asked for."""
    capture = hosts.topology.capture()
    for block in hosts.document[recipe.heading]:
        hosts.rename = block.host == "a"
        if block.ports or "ipsecbpf" in block.commands:
            hosts.run(block)
    hosts.rename = False
    a, b = hosts.topology.a, hosts.topology.b
    done = a.run("timeout", 1, "ftp", "-n", b.address(4), check=False) if 21 in recipe.ports else \
        a.run("timeout", 1, "ssh", "-o", "BatchMode=yes", b.address(4), check=False)
    assert done.returncode, done.stdout
    assert not any(protocol != TCP for protocol, _ in packets(hosts.settled(capture, port="b")))
    assert not list(packets(hosts.settled(capture, port="b"))), "not even a SYN-ACK"


def test_a_daemon_from_before(hosts):
    """The server's sockets are older than the policy that names it."""
    recipe = RECIPES[0]
    blocks = hosts.document[recipe.heading]
    configured = next(block for block in blocks if "vsftpd.conf <<" in block.commands)
    hosts.run(daemons.without(configured, "ipsecbpf"))
    capture = hosts.topology.capture()
    for block in sorted(blocks, key=lambda block: not block.ports):
        hosts.run(block, timeout=15)
    frames = hosts.settled(capture)
    check_protection(hosts, recipe.protections, frames)
    assert legible(frames, recipe.hidden) == []


def test_the_end_of_a_daemon(hosts):
    """Killed while a client is connected: what its kernel says of it, without a process or even a
    socket, is protected as well."""
    recipe = RECIPES[0]
    a = hosts.topology.a
    for block in hosts.document[recipe.heading]:
        if block.ports or "policy apply" in block.commands:
            hosts.run(block)
    capture = hosts.topology.capture()
    typing = daemons.Block("a", "exec ftp -n 10.9.0.2")
    client = a.spawn(*hosts.stage.command(typing), stdin=subprocess.PIPE)
    # Accepted, that is: what still waits for that would be reset. And greeted: who has read nothing yet
    # would end at once, not at the next command.
    net.wait_until(lambda: "vsftpd" in hosts.topology.b.run(
        "ss", "-Htnp", "state", "established").stdout, "the control connection")
    net.wait_until(lambda: re.match(r"0 .* bytes_received:", a.run(
        "ss", "-HtniO", "state", "established").stdout), "the client has read the greeting")
    hosts.stage.end()
    net.wait_until(lambda: "CLOSE-WAIT" in a.run("ss", "-Htn").stdout, "the server's FIN")
    client.stdin.write("quote noop\nquote noop\n")
    client.stdin.close()
    client.wait(10)
    net.wait_until(lambda: not a.run("ss", "-Htn").stdout, "the client is done with it")
    check_protection(hosts, {"secret"}, hosts.settled(capture))


def test_document_and_policies(product):
    """Each policy is used in the document, and is what `policy check` finds nothing about."""
    text = open_text(DOCUMENT)
    for name in sorted(os.listdir(EXAMPLES)):
        assert f"eth0 {name}" in text or f"--policy {name}" in text, name
        said = net.run_command([product, "policy", "check", os.path.join(EXAMPLES, name)])
        assert "warning" not in said.stdout + said.stderr, said
