# SPDX-License-Identifier: BSD-2-Clause
"""`ipsecbpf monitor`: which rule dropped which packet, filters, lost events, and how it ends."""
import json
import queue
import select
import signal
import threading

import pytest
from scapy.all import ARP, ESP, UDP, Ether, ICMP, IP, IPv6, Raw, TCP

import topology as net

OTHER = "02:00:00:00:00:99"
HERE, HERE6 = "10.9.0.1", "fd00:9::1"
RULES = [
    {"name": "no web", "direction": "in", "protocol": "tcp", "local_port": 80, "action": "discard"},
    {"name": "no dns", "protocol": "udp", "remote_port": 53, "action": "discard"},
]
LAST = TCP(sport=1, dport=1)            # what a test ends with: nothing after it is waited for


class Drops:
    """A host that drops what the test puts on its wire."""

    def __init__(self, topology, rules):
        self.topology, self.host = topology, topology.a
        self.host.sysctl("net.ipv6.conf.eth0.router_solicitations", 0)
        self.attach(rules)
        self.port = topology.port(self.host)

    def attach(self, rules, verb="attach"):
        path = self.topology.write("policy.json", net.policy(
            rules, defaults={"in": "discard", "out": "bypass", "non_ip": "discard"}))
        if verb == "attach":
            self.host.ipsecbpf("attach", net.IFNAME, "--policy", path)
        else:
            self.host.ipsecbpf("policy", "apply", net.IFNAME, path)

    def send(self, *packets, src="10.9.0.2", count=1):
        for packet in packets:
            frame = packet if Ether in packet else Ether(src=OTHER, dst=self.host.mac) / (
                packet if IP in packet or IPv6 in packet else IP(src=src, dst=HERE) / packet)
            for _ in range(count):
                self.port.send(bytes(frame))

    def monitor(self, *args):
        return Monitor(self, *args)


class Monitor:
    """`ipsecbpf -j monitor`, read as it comes."""

    def __init__(self, drops, *args):
        self.process = drops.host.spawn(net.IPSECBPF, "-j", "monitor", net.IFNAME, *args)
        self.lines = queue.Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            self.lines.put(line)

    def ready(self):
        """It has begun to watch."""
        def sleeps():
            with open(f"/proc/{self.process.pid}/wchan") as file:
                return "poll" in file.read()
        net.wait_until(sleeps, "the monitor sleeps in its first wait")
        return self

    def read(self):
        return json.loads(self.lines.get(timeout=10))

    def drop(self):
        event = self.read()
        while event["event"] != "drop":
            event = self.read()
        return event

    def rest(self):
        """What it tells until it ends by itself, or after stop()."""
        assert self.process.wait(10) == 0
        self.reader.join()
        return [json.loads(self.lines.get()) for _ in range(self.lines.qsize())]

    def stop(self):
        self.process.terminate()
        return self.rest()


@pytest.fixture
def drops(product, lone):
    return Drops(lone, RULES)


def test_rule_is_named(drops):
    told = drops.monitor().ready()
    drops.send(TCP(sport=1000, dport=80))
    event = told.drop()
    with open(event["rule_file"]) as file:
        shown = file.read().splitlines()
    assert (event["reason"], event["rule"], event["rule_name"]) == ("policy_discard", 0, "no web")
    assert '"no web"' in "".join(shown[event["rule_line"] - 1:event["rule_line"] + 1])
    assert (event["src"], event["src_port"], event["dst"], event["dst_port"]) == \
        ("10.9.0.2", 1000, HERE, 80)
    drops.send(UDP(sport=53, dport=7))
    assert told.drop()["rule_name"] == "no dns"
    drops.send(UDP(sport=54, dport=7))
    event = told.drop()
    assert event["rule"] is event["rule_name"] is event["rule_file"] is event["rule_line"] is None
    # The next policy's rules have their own names.
    drops.attach([{"name": "other", "protocol": "udp", "action": "discard"}], "apply")
    while told.read().get("text") != "another policy is in force":
        pass
    drops.send(UDP(sport=53, dport=7))
    event = told.drop()
    assert (event["rule"], event["rule_name"]) == (0, "other")
    told.stop()


def test_rule_as_text(drops):
    process = drops.host.spawn(net.IPSECBPF, "monitor", net.IFNAME, "--rule", "no web", "-n1")
    net.wait_until(lambda: drops.send(TCP(sport=1000, dport=80)) or process.poll() is not None,
                   "one drop is told")
    line = process.stdout.read()
    assert "tcp 10.9.0.2:1000 > 10.9.0.1:80 len " in line
    assert 'policy_discard by rules[0] "no web" (/' in line and line.count("\n") == 1


PACKETS = {
    "web": TCP(sport=1000, dport=80), "dns": UDP(sport=53, dport=7), "udp": UDP(sport=54, dport=80),
    "ping": ICMP(), "far": IP(src="192.0.2.7", dst=HERE) / TCP(sport=80, dport=22),
    "six": IPv6(src="fd00:9::2", dst=HERE6) / UDP(sport=53, dport=9),
    "esp": ESP(spi=0x1234, seq=1) / Raw(bytes(40)),
    "other": Ether(src=OTHER, dst="ff:ff:ff:ff:ff:ff", type=0x88b5) / Raw(bytes(46)),
    "bad": Ether(src=OTHER, dst="ff:ff:ff:ff:ff:ff", type=0x0800) / Raw(b"\x45" + bytes(10)),
}


def kind_of(event):
    """Which of PACKETS it was."""
    if event["ethertype"] == 0x88b5:
        return "other"
    if event["reason"] == "malformed":
        return "bad"
    if event["src"] == "192.0.2.7":
        return "far"
    if event["src"] == "fd00:9::2":
        return "six"
    return {"tcp": "web", "icmp": "ping", "esp": "esp"}.get(
        event["proto"], "dns" if event.get("src_port") == 53 else "udp")


FILTERS = [
    ([], set(PACKETS)),
    (["--reason", "policy_discard"], {"web", "dns", "udp", "ping", "far", "six"}),
    (["--reason", "no_sa_in"], {"esp"}),
    (["--reason", "non_ip"], {"other"}),
    (["--proto", "udp"], {"dns", "udp", "six"}),
    (["--proto", "6"], {"web", "far"}),
    (["--proto", "esp"], {"esp"}),
    (["--port", "80"], {"web", "udp", "far"}),
    (["--address", "192.0.2.0/24"], {"far"}),
    (["--address", "10.9.0.2"], {"web", "dns", "udp", "ping", "esp"}),
    (["--address", "fd00:9::/64"], {"six"}),
    (["--rule", "no dns"], {"dns", "six"}),
    (["--port", "80", "--proto", "tcp", "--address", "10.9.0.2"], {"web"}),
    (["--direction", "out"], set()),
]


def test_filters(drops):
    for args, wanted in FILTERS:
        told = drops.monitor(*args).ready()
        before = sum(drops.host.drops().values())
        drops.send(*PACKETS.values())
        net.wait_until(lambda: sum(drops.host.drops().values()) >= before + len(PACKETS),
                       "all dropped")
        events = [told.drop() for _ in wanted]
        events += [event for event in told.stop() if event["event"] == "drop"]
        assert {kind_of(event) for event in events} == wanted, args


def test_wrong_filters(drops):
    host = drops.host
    for args, said in ((["--proto", "zzz"], "protocol"), (["--address", "10.9.0.1/24"], "10.9.0.1/24"),
                       (["--port", "0"], "from 1"), (["--reason", "zzz"], "one of"),
                       (["--direction", "up"], "in, out")):
        done = host.ipsecbpf("monitor", net.IFNAME, *args, check=False)
        assert done.returncode == 2 and said in done.stderr and done.stdout == "", args
    done = host.ipsecbpf("monitor", net.IFNAME, "--rule", "no such", check=False)
    assert done.returncode == 1 and 'no rule "no such"' in done.stderr
    assert "policy show" in done.stderr


def test_count(drops):
    told = drops.monitor("--count", 3, "--proto", "tcp").ready()
    drops.send(UDP(sport=1, dport=1), TCP(sport=1, dport=1), count=10)
    events = told.rest()
    assert [event["proto"] for event in events if event["event"] == "drop"] == ["tcp"] * 3


def test_lost_events_are_counted(drops):
    """More at once than are told: what is told and what is lost make up what was dropped."""
    told = drops.monitor().ready()
    before = drops.host.drops("policy_discard")
    drops.send(TCP(sport=1000, dport=80), count=3000)
    drops.host.wait_drop("policy_discard", before, 3000)
    shown = lost = 0
    while shown + lost < 3000:
        event = told.read()
        shown += event["event"] == "drop" and event.get("src_port") == 1000
        lost += event["count"] if event["event"] == "lost" else 0
    assert lost > 0 and shown >= 128
    rest = [event for event in told.stop()
            if event.get("src_port") == 1000 or event["event"] == "lost"]
    assert rest == [] and shown + lost == 3000


@pytest.mark.parametrize("number", (signal.SIGINT, signal.SIGTERM))
def test_signals_end_it(drops, number):
    process = drops.host.spawn(net.IPSECBPF, "monitor", net.IFNAME, "--proto", "tcp")
    net.wait_until(lambda: drops.send(LAST) or select.select([process.stdout], [], [], 0)[0],
                   "a drop is told")
    process.send_signal(number)
    out, _ = process.communicate(timeout=5)
    assert process.returncode == 0
    assert all("tcp" in line or "more drops" in line for line in out.splitlines()), "no message"


@pytest.mark.parametrize("json_too", ("", "-j"))
def test_closed_pipe_ends_it(drops, json_too):
    script = f"{net.IPSECBPF} {json_too} monitor {net.IFNAME} --proto tcp | head -n1; " \
             "echo ${PIPESTATUS[@]}"
    process = drops.host.spawn("bash", "-c", script)
    net.wait_until(lambda: drops.send(LAST) or process.poll() is not None, "head has seen a line")
    first, status = process.stdout.read().splitlines()
    assert "policy_discard" in first and status == "0 0"


def test_reader_that_leaves_in_silence(drops):
    """No event comes, so that nothing is written: the end is noticed all the same."""
    process = drops.host.spawn("bash", "-c", f"{net.IPSECBPF} monitor {net.IFNAME} --proto sctp | "
                               "true; echo ${PIPESTATUS[@]}")
    assert process.communicate(timeout=10)[0] == "0 0\n"


def test_one_at_a_time(drops):
    """Two would take events from each other."""
    first = drops.monitor().ready()
    second = drops.host.ipsecbpf("-j", "monitor", net.IFNAME, check=False)
    said = json.loads(second.stdout)["messages"][0]["cause"]
    assert second.returncode == 1
    assert said == f"another monitor takes the events: process {first.process.pid}"
    first.stop()
    drops.monitor().ready().stop()


@pytest.mark.parametrize("again", (False, True))
def test_ends_with_its_attachment(drops, again):
    """Nothing would come any more: neither of no attachment nor of the next one."""
    told = drops.monitor().ready()
    drops.host.ipsecbpf("detach", net.IFNAME, "--open")
    if again:
        drops.attach(RULES)
    assert told.process.wait(10) == 1
    told.reader.join()
    assert "the attachment is gone" in list(told.lines.queue)[-1]
