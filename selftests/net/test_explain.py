# SPDX-License-Identifier: BSD-2-Clause
"""explain says what happens: packets are really sent, and live counters compared with its word."""
import contextlib
import json
import os
import random
import re
import select
import socket

import pytest
from scapy.all import AH, ARP, ESP, ICMP, IP, TCP, UDP, Dot1Q, Ether, IPv6, IPv6ExtHdrFragment, \
    Raw, wrpcap, wrpcapng

import topology as net
from wire import InNetns, netns_path

EXAMPLES = os.path.join(net.HERE, "..", "..", "schemas", "examples")
PEER = "10.9.0.2"
STRANGERS = ["10.9.0.7", "10.9.0.130", "192.0.2.1"]
NOBODY = "10.9.0.100"           # in the subnet, but no host's: what is let in gets no answer
PORTS = [22, 53, 80, 443, 5001, 8080]


# ---- policies and packets by chance --------------------------------------------------------------

def some_policy(chance):
    rules = []
    for number in range(14):
        action = chance.choice(["bypass", "discard", "protect", "protect"])
        rule = {"name": f"rule {number}", "action": action,
                "direction": chance.choice(["both", "in", "out"])}
        if action == "protect":
            rule.update(peer="peer", protection="wire")
        else:
            rule["remote"] = chance.choice([PEER, "10.9.0.0/25", "10.9.0.128/25", "192.0.2.0/24",
                                            "fd00:9::/64"])
        protocol = chance.choice(["tcp", "udp", "both", "icmp"])
        rule["protocol"] = ["tcp", "udp"] if protocol == "both" else protocol
        if protocol != "icmp":
            low = chance.choice(PORTS)
            rule[chance.choice(["local_port", "remote_port"])] = \
                chance.choice([low, f"{low}-{low + 500}"])
        if rule.get("remote", "").startswith("fd") and protocol == "icmp":
            rule["protocol"] = "icmpv6"
        rules.append(rule)
    return net.policy(rules, {"peer": [PEER, "fd00:9::2"]}, {"wire": net.protection_of()},
                      defaults={"in": "discard", "out": "bypass", "non_ip": "discard"})


def without_dead_rules(topology, policy):
    """Chance makes rules that can never match, which are refused."""
    path = topology.write("policy.json", policy)
    checked = json.loads(topology.a.ipsecbpf("-j", "policy", "check", path, check=False).stdout)
    dead = {re.match(r'rule "(.*?)" can never match', m["cause"]).group(1)
            for m in checked.get("messages", []) if m["level"] == "error"}
    return policy | {"rules": [rule for rule in policy["rules"] if rule["name"] not in dead]}


def some_packet(chance):
    """A direction, and a packet without Ethernet."""
    direction = chance.choice(["in", "out"])
    v6 = chance.random() < 0.2
    here = ("fd00:9::1" if v6 else "10.9.0.1") if direction == "out" else \
           ("fd00:9::100" if v6 else NOBODY)
    there = chance.choice(["fd00:9::2", "fd00:9::7"] if v6 else [PEER, PEER, *STRANGERS])
    src, dst = (here, there) if direction == "out" else (there, here)
    ip = (IPv6 if v6 else IP)(src=src, dst=dst)
    protocol = chance.choice(["tcp", "udp"] if v6 else ["tcp", "udp", "icmp"])
    if protocol == "icmp":
        return direction, ip / ICMP() / Raw(b"ping")
    sport, dport = chance.choice(PORTS), chance.choice(PORTS)
    upper = (TCP if protocol == "tcp" else UDP)(sport=sport, dport=dport)
    return direction, ip / upper / Raw(b"some payload")


class Sender:
    """Frames out of the host's own interface, through its tc hook, or into it from the wire."""

    def __init__(self, topology):
        self.host = topology.a
        self.port = topology.port(self.host)
        with InNetns(netns_path(self.host.netns)):
            self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        with InNetns(netns_path(self.host.netns)):
            self.socket.bind((net.IFNAME, 0))
        topology.closers.append(self.socket.close)

    def send(self, direction, packet):
        other = "02:00:00:00:00:99"
        if direction == "in":
            self.port.send(bytes(Ether(src=other, dst=self.host.mac) / packet))
        else:
            with contextlib.suppress(OSError):      # ENOBUFS: what the hook drops
                self.socket.send(bytes(Ether(src=self.host.mac, dst=other) / packet))


def counters(host):
    """Those of the hooks; ARP and ND come and go by themselves."""
    stats = host.json("stats", net.IFNAME)
    return {key: value for kind in ("passed", "dropped") for key, value in stats[kind].items()
            if not key.endswith("_essential")}


def risen(before, after):
    return {key: after[key] - before[key] for key in after if after[key] != before[key]}


@pytest.fixture
def silent(product, lone):
    """One host without IPv6 of its own, which would speak up by itself."""
    lone.a.sysctl("net.ipv6.conf.all.disable_ipv6", 1)
    lone.a.neighbour(PEER, "02:00:00:00:00:99")
    return lone


def attach(topology, policy):
    a = topology.a
    sas = topology.write("sa.json", net.sa_file(
        *[net.new_sa(src, dst, spi) for src, dst, spi in
          (("10.9.0.1", PEER, 0x1001), (PEER, "10.9.0.1", 0x1002))]), mode=0o600)
    a.ipsecbpf("attach", net.IFNAME, "--policy", topology.write("policy.json", policy),
               "--sa", sas, "--fresh")
    return sas


def explain(host, *words):
    return host.json("explain", net.IFNAME, *words)


def said(host, *words):
    """Decision, and reason or the rule's name."""
    packet = explain(host, *words)["packet"]
    return packet["decision"], packet["reason"] or (packet["policy"] or {}).get("name")


# ---- what is said and what is ------------------------------------------------------------------

def explain_all(topology, direction, packets):
    """All packets in one go; as frames of a capture."""
    path = topology.path(f"{direction}.pcap")
    wrpcap(path, [Ether(src="02:00:00:00:00:98", dst="02:00:00:00:00:99") / p for p in packets])
    told = explain(topology.a, direction, "--pcap", path)["packets"]
    assert len(told) == len(packets)
    return [one["packet"] for one in told]


OUTCOMES = {"bypass": {"bypass"}, "protect": {"protect", "clear_text", "no_sa_out"},
            "discard": {"policy_discard"}}


def check_rule(told, policy):
    """The rule that is named is the one in force, at the line where it was written, and says so."""
    if told["policy"]["rule"] is None:
        return
    rule = policy["rules"][told["policy"]["rule"]]
    assert (told["reason"] or told["decision"]) in OUTCOMES[rule["action"]]
    assert rule == json.loads(told["policy"]["text"]) and rule["name"] == told["policy"]["name"]
    with open(told["policy"]["file"]) as file:
        assert f'"{rule["name"]}"' in file.read().splitlines()[told["policy"]["line"]]


@pytest.mark.parametrize("seed", [4301, 4303])
def test_explain_says_what_happens(silent, seed):
    chance = random.Random(seed)
    host, sender = silent.a, Sender(silent)
    attach(silent, without_dead_rules(silent, some_policy(chance)))
    shots = [some_packet(chance) for _ in range(40)]
    before = counters(host)
    told = {direction: explain_all(silent, direction, [p for d, p in shots if d == direction])
            for direction in ("in", "out")}
    assert risen(before, counters(host)) == {}, "explaining has changed a live counter"
    shown = host.ipsecbpf("policy", "show", net.IFNAME).stdout
    decisions = set()
    for direction, packet in shots:
        word = told[direction].pop(0)
        before = counters(host)
        sender.send(direction, packet)
        rose = net.wait_until(lambda: risen(before, counters(host)), f"a counter: {packet!r}")
        assert rose == {name: 1 for name in word["counters"]}, (packet, word)
        check_rule(word, json.loads(shown))
        decisions.add((direction, word["decision"], word["policy"]["rule"] is None))
    assert len(decisions) >= 5, decisions


def test_events_are_not_for_monitors(silent):
    """A drop that is only explained is no drop."""
    host, sender = silent.a, Sender(silent)
    host.ipsecbpf("attach", net.IFNAME, "--policy", silent.write("policy.json", net.policy([])))
    monitor = host.spawn(net.IPSECBPF, "-j", "monitor", net.IFNAME)

    def monitored():
        sender.send("in", IP(src="192.0.2.1", dst=NOBODY) / UDP(sport=1, dport=1111))
        return select.select([monitor.stdout], [], [], 0)[0]
    net.wait_until(monitored, "an event")
    assert said(host, "in", "192.0.2.1", NOBODY, "udp", 1, 2222) == ("drop", "policy_discard")
    sender.send("in", IP(src="192.0.2.1", dst=NOBODY) / UDP(sport=1, dport=3333))
    told = b""
    while b'"dst_port": 3333' not in told.replace(b'":3333', b'": 3333'):
        assert select.select([monitor.stdout], [], [], 10)[0], told
        told += os.read(monitor.stdout.fileno(), 65536)
    assert b"1111" in told and b"2222" not in told


def test_while_policies_change(silent):
    """What is told of a packet is of one policy, also if that is replaced meanwhile."""
    host = silent.a
    files = [silent.write(f"{name}.json", net.policy(
        [{"name": f"{name} {i}", "action": "bypass", "remote": f"192.0.2.{i}"} for i in range(99)] +
        [{"name": name, "action": "discard", "protocol": "udp"}])) for name in ("even", "odd")]
    host.ipsecbpf("attach", net.IFNAME, "--policy", files[1])
    capture = silent.path("many.pcap")
    wrpcap(capture, [TO / IP(src="10.9.0.1", dst=PEER) / UDP()] * 1500)
    explaining = host.spawn(net.IPSECBPF, "-j", "explain", net.IFNAME, "out", "--pcap", capture,
                            stdout=open(silent.path("told.json"), "w"))
    serial = 1
    while explaining.poll() is None:
        serial += 1
        host.ipsecbpf("policy", "apply", net.IFNAME, files[serial % 2])
    with open(silent.path("told.json")) as file:
        told = [one["packet"]["policy"] for one in json.load(file)["packets"]]
    assert len(told) == 1500 and len({one["serial"] for one in told}) > 1
    assert {(one["serial"] % 2, one["name"]) for one in told} == {(0, "even"), (1, "odd")}


def only_peer():
    return net.policy(
        [{"name": "ssh", "protocol": "tcp", "local_port": 22, "action": "bypass"},
         {"name": "peer", "action": "protect", "peer": "peer", "protection": "wire"}],
        {"peer": [PEER, "fd00:9::2"]}, {"wire": net.protection_of()})


WRITTEN = """
{ "version": 1,
  "description": "as people write it",

  "bypass_essential": ["arp"], "defaults": {"in": "discard", "out": "bypass", "non_ip": "discard"},
  "rules": [
    {"name": "ssh", "protocol": "tcp", "local_port": 22, "action": "bypass"}, {"name": "dns",
     "protocol": "udp", "remote_port": 53, "action": "bypass"},


    {"description": "no web", "name": "web",
     "protocol": "tcp", "remote_port": 80, "action": "discard"}
  ]
}
"""
LINES = {"ssh": 7, "dns": 7, "web": 11}
WEB = ("10.9.0.1", PEER, "tcp", 80)


def where(host, *words):
    rule = explain(host, *words)["packet"]["policy"]
    return rule["name"], rule["file"], rule["line"]


def test_rule_is_where_it_was_written(product, lone):
    """The line is the file's, not one of the canonical text."""
    host, path = lone.a, lone.write("the policy\n.json", WRITTEN)
    name = path.replace("\n", "?")
    directory, base = os.path.split(path)
    host.ipsecbpf("attach", net.IFNAME, "--policy", os.path.join(directory, ".", base))
    assert where(host, *WEB) == ("web", path, LINES["web"])
    assert where(host, "10.9.0.1", PEER, "udp", 53) == ("dns", path, LINES["dns"])
    assert f'rules[2] "web" ({name}:{LINES["web"]})' in \
        host.ipsecbpf("explain", net.IFNAME, *WEB).stdout
    stats = host.json("stats", net.IFNAME, "--rules")
    assert stats["file"] == path and {r["name"]: r["line"] for r in stats["rules"]} == LINES
    assert host.ipsecbpf("stats", net.IFNAME, "--rules").stdout.endswith(f"lines are of {name}\n")
    # The same from elsewhere changes nothing; another policy does.
    host.ipsecbpf("policy", "apply", net.IFNAME, lone.write("same.json", "\n\n" + WRITTEN))
    assert where(host, *WEB) == ("web", path, LINES["web"])
    host.ipsecbpf("policy", "apply", net.IFNAME, "-",
                  input="\n" + WRITTEN.replace('"remote_port": 80', '"remote_port": "80-81"'))
    assert where(host, *WEB) == ("web", "-", LINES["web"] + 1)
    assert f'(standard input:{LINES["web"] + 1})' in \
        host.ipsecbpf("explain", net.IFNAME, *WEB).stdout
    # What is kept for the next attach is the canonical text.
    shown = host.ipsecbpf("policy", "show", net.IFNAME).stdout.splitlines()
    host.ipsecbpf("detach", net.IFNAME)
    host.ipsecbpf("attach", net.IFNAME)
    name, kept, line = where(host, *WEB)
    assert name == "web" and os.path.isabs(kept) and '"web"' in shown[line]


def test_sa_and_answer(silent):
    host = silent.a
    attach(silent, only_peer())
    out = explain(host, "10.9.0.1", PEER, "tcp", 80)
    assert [sa["spi"] for sa in out["packet"]["sas"]] == [0x1001]
    listed = [sa for sa in host.json("sa", "list", net.IFNAME, "--stats")["sas"]
              if sa["spi"] == 0x1001]
    assert out["packet"]["inner_mtu"] == listed[0]["inner_mtu"]
    assert out["answer"]["direction"] == "in" and out["answer"]["src"] == PEER
    assert out["answer"]["src_port"] == 80 and out["answer"]["reason"] == "clear_text"
    assert [sa["spi"] for sa in out["answer"]["accepted_by"]] == [0x1002]
    # The other way round, and clear both ways.
    back = explain(host, "in", PEER, "10.9.0.1", "tcp", 80, 50000)
    assert back["packet"] == out["answer"] | {"dst_port": 50000}
    assert [sa["spi"] for sa in back["answer"]["sas"]] == [0x1001]
    ssh = explain(host, "in", PEER, "10.9.0.1", "tcp", 22)
    assert (ssh["packet"]["decision"], ssh["answer"]["decision"]) == ("bypass", "bypass")
    # By SPI: ours, ours from a stranger, nobody's.
    assert said(host, "in", PEER, "10.9.0.1", "esp", "--spi", 0x1002) == ("verify", None)
    assert said(host, "in", STRANGERS[0], "10.9.0.1", "esp", "--spi", 0x1002) == \
        ("drop", "sa_source")
    assert said(host, "in", PEER, "10.9.0.1", "esp", "--spi", 0x1003) == ("drop", "no_sa_in")
    # Essential traffic; a tag changes nothing; forwarded with this host's address.
    assert explain(host, PEER, "10.9.0.1", "udp", 500, 500)["packet"]["policy"]["essential"]
    tagged = explain(host, "10.9.0.1", PEER, "tcp", 80, "--vlan", 9, "--dscp", "af41")
    assert tagged["packet"]["policy"]["name"] == "peer"
    for part in (tagged["packet"], tagged["answer"]):
        assert (part["vlan"], part["dscp"]) == (9, 34)
    assert "VLAN 9, DSCP af41" in host.ipsecbpf(
        "explain", net.IFNAME, "10.9.0.1", PEER, "tcp", 80, "--vlan", 9, "--dscp", 34).stdout
    assert (out["packet"]["vlan"], out["packet"]["dscp"]) == (0, 0)
    assert said(host, "10.9.0.1", PEER, "tcp", 80, "--forwarded") == ("drop", "own_source")
    text = host.ipsecbpf("explain", net.IFNAME, "10.9.0.1", PEER, "tcp", 80).stdout
    assert "protect" in text and 'rules[1] "peer"' in text and "0x00001001" in text
    assert "accepted inside spi 0x00001002 only" in text
    assert len(text.splitlines()) <= 24, "one screen"


def test_every_state(silent):
    host = silent.a
    host.ipsecbpf("attach", net.IFNAME)
    words = ("10.9.0.1", PEER, "tcp", 80)
    assert host.status()["state"] == "blocked"
    assert said(host, *words) == ("drop", "no_policy")
    assert explain(host, "10.9.0.1", PEER, "udp", 500, 500)["packet"]["decision"] == "bypass"
    host.ipsecbpf("policy", "apply", net.IFNAME, silent.write("policy.json", only_peer()))
    assert said(host, *words) == ("drop", "no_sa_out")
    assert explain(host, *words)["answer"]["accepted_by"] == []
    host.ipsecbpf("detach", net.IFNAME)
    assert host.status()["state"] == "guard"
    assert said(host, *words) == ("drop", "guard")
    assert said(host, "in", PEER, "10.9.0.1", "tcp", 22) == ("bypass", "ssh")
    host.ipsecbpf("detach", net.IFNAME, "--open")
    gone = host.ipsecbpf("explain", net.IFNAME, *words, check=False)
    assert gone.returncode == 1 and "not attached" in gone.stderr


def test_dead_supervisor_is_told(silent):
    host = silent.a
    attach(silent, only_peer())
    pid = host.status()["supervisor_pid"]
    os.kill(pid, 9)
    net.wait_until(lambda: host.status()["state"] == "supervisor-dead", "death")
    answer = explain(host, "10.9.0.1", PEER, "tcp", 80)
    assert answer["packet"]["decision"] == "protect" and answer["packet"]["sas"] == []
    assert "no supervisor runs" in answer["messages"][0]["cause"]


def test_bundle(product, lone):
    host = lone.a
    policy = net.policy(
        [{"name": "peer", "action": "protect", "peer": "peer", "protection": "secret"}],
        {"peer": [PEER]}, {"whole": net.protection_of("sha256"),
                           "secret": net.protection_of(within="whole")})
    sas = net.sa_file(net.new_sa("10.9.0.1", PEER, 0x1001, protection="secret"),
                      net.new_sa("10.9.0.1", PEER, 0x2001, suite="sha256", proto="ah",
                                 protection="whole"))
    host.ipsecbpf("attach", net.IFNAME, "--policy", lone.write("p.json", policy), "--sa",
                  lone.write("s.json", sas, mode=0o600), "--fresh")
    packet = explain(host, "10.9.0.1", PEER, "tcp", 80)["packet"]
    assert [(sa["proto"], sa["spi"]) for sa in packet["sas"]] == [("esp", 0x1001), ("ah", 0x2001)]
    # A datagram as large as that leaves unfragmented, one octet more does not fit.
    whole = wire_length(lone, packet["inner_mtu"])
    assert 1500 - 8 < whole <= 1500


def wire_length(topology, size):
    """Length of the outer IP packet that an inner one of `size` octets becomes."""
    host, capture = topology.a, topology.capture()
    host.neighbour(PEER, "02:00:00:00:00:99")
    with host.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.IPPROTO_IP, 10, 2)     # IP_MTU_DISCOVER, IP_PMTUDISC_DO
        sender.sendto(b"x" * (size - 28), (PEER, 9))
    frame = capture.wait(lambda f: f[12:14] == b"\x08\x00" and f[23] == 51, "AH", port="a")
    return int.from_bytes(frame[16:18], "big")


# ---- where packets come from -------------------------------------------------------------------

TO = Ether(dst="02:00:00:00:00:99")
FRAMES = [TO / IP(src=PEER, dst="10.9.0.1") / TCP(sport=50000, dport=22),
          TO / IP(src=PEER, dst="10.9.0.1") / UDP(sport=1, dport=2) / Raw(b"x" * 1400),
          TO / Dot1Q(vlan=5) / IPv6(src="fd00:9::2", dst="fd00:9::1") / TCP(dport=22),
          TO / IPv6(src="fd00:9::2", dst="fd00:9::1") / IPv6ExtHdrFragment(offset=9, nh=6),
          TO / ARP(), Ether(dst=TO.dst, type=0x88cc) / Raw(b"lldp" * 12),
          TO / IP(src=PEER, dst="10.9.0.1") / ESP(spi=0x1002, seq=1),
          TO / IP(src=PEER, dst="10.9.0.1") / AH(spi=0x1002, seq=1),
          TO / IP(bytes(IP(src=PEER, dst="10.9.0.1") / TCP())[:22])]
WORDS = [("bypass", "ssh"), ("drop", "clear_text"), ("bypass", "ssh"), ("drop", "clear_text"),
         ("bypass", None), ("drop", "non_ip"), ("verify", None), ("drop", "no_sa_in"),
         ("drop", "malformed")]


def test_captures(silent):
    host = silent.a
    attach(silent, only_peer())
    pcap, pcapng = silent.path("a.pcap"), silent.path("a.pcapng")
    wrpcap(pcap, FRAMES)
    wrpcapng(pcapng, FRAMES)
    for file in (pcap, pcapng):
        told = [one["packet"] for one in explain(host, "in", "--pcap", file)["packets"]]
        assert [(one["decision"], one["reason"] or (one["policy"] or {}).get("name"))
                for one in told] == WORDS
    assert said(host, "in", "--pcap", pcapng, "--packet", 3) == WORDS[2]
    table = host.ipsecbpf("explain", net.IFNAME, "in", "--pcap", pcap).stdout.splitlines()
    assert len(table) == 1 + len(FRAMES) and "drop: malformed" in table[-1]
    assert table[1].split()[:2] == ["1", "in"]
    both_ways = host.ipsecbpf("explain", net.IFNAME, "--pcap", pcap, check=False)
    assert both_ways.returncode == 2 and "needs in or out" in both_ways.stderr
    few = host.ipsecbpf("explain", net.IFNAME, "in", "--pcap", pcap, "--packet", 10, check=False)
    assert few.returncode == 1 and "has no packet 10, only 9" in few.stderr
    raw = silent.path("raw.pcap")
    wrpcap(raw, [frame[IP] for frame in FRAMES[:2]], linktype=101)
    assert said(host, "in", "--pcap", raw, "--packet", 1) == WORDS[0]
    answer = explain(host, "in", "--pcap", pcap, "--packet", 1)["answer"]
    assert (answer["dst"], answer["src_port"], answer["decision"]) == (PEER, 22, "bypass")


def test_packets_that_cannot_be_asked_about(silent):
    """Each is told by its number, up to a number, and the others are asked about."""
    host = silent.a
    attach(silent, only_peer())
    file = silent.path("short.pcap")
    good = FRAMES[0]
    wrpcap(file, [good, Raw(bytes(good)[:30]), Raw(bytes(5)), good, *[Raw(bytes(5))] * 12],
           linktype=1)
    done = host.ipsecbpf("-j", "explain", net.IFNAME, "out", "--pcap", file, check=False)
    told = json.loads(done.stdout)
    assert done.returncode == 1 and [one["number"] for one in told["packets"]] == [1, 4]
    causes = [one["cause"] for one in told["messages"]]
    assert causes[0].startswith("packet 2, 30 octets: the kernel makes no packet of it")
    assert causes[1] == "packet 3, 5 octets: shorter than an Ethernet header"
    assert (len(causes), causes[-1]) == (11, "nothing can be said of 4 more packets")
    one = host.ipsecbpf("explain", net.IFNAME, "out", "--pcap", file, "--packet", 3, check=False)
    assert one.returncode == 1 and one.stderr.count("error:") == 1 and "packet 3" in one.stderr


def test_sockets_of_a_process(product, pair):
    a, b = pair.a, pair.b
    program = ("import socket, sys\n"
               "tcp = socket.create_connection(('{0}', 8001))\n"
               "udp = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
               "udp.connect(('{1}', 8002))\n"
               "both = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)\n"
               "both.bind(('', 500))\n"
               "both.connect(('::ffff:{0}', 500))\n"
               "idle = socket.create_server(('', 8003))\n"
               "print('connected', flush=True)\nsys.stdin.read()")
    listener = b.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind(("", 8001))
    listener.listen()
    process = a.spawn("python3", "-c", program.format(b.address(4), b.address(6)), stdin=-1)
    try:
        assert process.stdout.readline() == "connected\n"
        sockets = explain(a, "--pid", process.pid)["sockets"]
        seen = {(s["packet"]["protocol"], s["packet"]["dst"], s["packet"]["dst_port"]):
                s["packet"]["decision"] for s in sockets}
        assert seen == {("tcp", b.address(4), 8001): "protect",
                        ("udp", b.address(6), 8002): "protect",
                        ("udp", b.address(4), 500): "bypass"}
        elsewhere = a.ipsecbpf("explain", net.IFNAME, "--pid", os.getpid(), check=False)
        assert elsewhere.returncode == 1 and "another network namespace" in elsewhere.stderr
    finally:
        listener.close()


@pytest.mark.parametrize("content, cause", [
    (b"", "cut short"), (b"GIF89a" * 9, "neither pcap nor pcapng"),
    (bytes.fromhex("d4c3b2a1 02000400 00000000 00000000 ffff0000 01000000"), "has no packet 1"),
    (bytes.fromhex("d4c3b2a1 02000400 00000000 00000000 ffff0000 93000000") +
     bytes.fromhex("00000000 00000000 10000000 10000000") + bytes(16), "link type 147"),
    (bytes.fromhex("0a0d0d0a 1c000000 00000000"), "byte order is not marked")])
def test_bad_captures(product, lone, content, cause):
    path = lone.path("bad.pcap")
    with open(path, "wb") as file:
        file.write(content)
    result = lone.a.ipsecbpf("explain", net.IFNAME, "in", "--pcap", path, "--packet", 1,
                             check=False)
    assert result.returncode == 1 and cause in result.stderr


# ---- policy test --------------------------------------------------------------------------------

def good_tests():
    with open(os.path.join(EXAMPLES, "good", "test-secure-two-hosts.json")) as file:
        return json.load(file)


def test_policy_test_passes(product, lone):
    for name in ("test-secure-two-hosts.json", "test-every-key.json",
                 "test-app-ftp-fast-server.json"):
        result = lone.a.json("policy", "test", os.path.join(EXAMPLES, "good", name))
        assert result["failed"] == 0 and result["passed"] == len(result["tests"]) >= 6


@pytest.mark.parametrize("change", [
    {"action": "bypass"}, {"peer": "c"}, {"protection": "other"}, {"rule": "keep ssh in"},
    {"rule": None}, {"essential": True}], ids=str)
def test_policy_test_fails(product, lone, change):
    tests = good_tests()
    expect = tests["tests"][0]["expect"]
    if "action" in change:
        expect.clear()
    expect.update(change)
    path = lone.write("tests.json", tests)
    policy = os.path.join(EXAMPLES, "good", "secure-two-hosts.json")
    result = lone.a.ipsecbpf("policy", "test", path, "--policy", policy, check=False)
    assert result.returncode == 1
    assert f'FAIL "web to b is encrypted" ({path}:' in result.stdout
    assert 'got      protect, rule "everything with b", peer "b", protection "wire"' \
        in result.stdout
    assert "6 passed, 1 failed" in result.stdout


def test_policy_test_of_an_unknown_application(product, lone):
    tests = good_tests()
    tests["tests"][0]["application"] = "ftp"
    policy = os.path.join(EXAMPLES, "good", "secure-two-hosts.json")
    result = lone.a.ipsecbpf("policy", "test", lone.write("t.json", tests), "--policy", policy,
                             check=False)
    assert result.returncode == 1
    assert 'web to b is encrypted: the policy has no application "ftp"' in result.stderr


def test_policy_test_needs_privilege_and_a_policy(product, lone):
    path = os.path.join(EXAMPLES, "good", "test-secure-two-hosts.json")
    result = lone.a.run("setpriv", "--bounding-set=-all", "--inh-caps=-all", net.IPSECBPF, "policy",
                        "test", path, check=False)
    assert result.returncode == 1 and result.stdout == ""
    assert result.stderr.splitlines() == [
        "error: policy test: the BPF programs need CAP_BPF and CAP_NET_ADMIN to be loaded",
        "  next: run it as root"]
    tests = good_tests()
    del tests["policy"]
    result = lone.a.ipsecbpf("policy", "test", lone.write("t.json", tests), check=False)
    assert result.returncode == 1 and "--policy FILE" in result.stderr
    result = lone.a.ipsecbpf("policy", "test", path, "--policy", "/none.json", check=False)
    assert result.returncode == 1 and "/none.json" in result.stderr
