# SPDX-License-Identifier: BSD-2-Clause
"""SAs end and are exchanged: limits, how many there may be, delete and rotate."""
import json
import socket
import struct
import threading
import time

import pytest

import topology as net

RECORD_MAGIC = 0x3171657363657369       # lib/reservation.c
SEQ_DIR = f"{net.STATE_ROOT}/seq"
FAMILIES = pytest.mark.parametrize("family", (4, 6))


def attach(topology, document, only=None):
    sas = topology.write("sa.json", document, mode=0o600)
    for host, other in ((topology.a, topology.b), (topology.b, topology.a)):
        policy = topology.write(f"policy-{host.name}.json", net.protect_all(other))
        host.ipsecbpf("attach", net.IFNAME, "--policy", policy)
        if host is only or not only:
            host.ipsecbpf("sa", "apply", net.IFNAME, sas, "--fresh")


def limited(topology, soft=None, hard=None, **more):
    """SAs in both directions; those that `a` sends by have limits."""
    document = net.both_ways(topology.a, topology.b, **more)
    for sa in document["sas"]:
        if sa["src"] in (topology.a.address(4), topology.a.address(6)):
            sa["limits"] = {key: value for key, value in (("soft", soft), ("hard", hard)) if value}
    return document


def attach_watched(topology, monitor, document):
    """As attach(), but `a` gets its SAs while it is watched: none ends before. Returns the monitor
    and the SPI of the SA that it sends by, with IPv4."""
    a = topology.a
    attach(topology, document, only=topology.b)
    told = monitor(a)
    a.ipsecbpf("sa", "apply", net.IFNAME, topology.path("sa.json"), "--fresh")
    return told, next(sa["spi"] for sa in document["sas"] if sa["src"] == a.address(4))


def sas_of(host, **wanted):
    return [sa for sa in host.json("sa", "list", net.IFNAME)["sas"]
            if all(sa[key] == value for key, value in wanted.items())]


def outbound(host, family=4):
    (sa,) = sas_of(host, dir="out", src=host.address(family))
    return sa


class Monitor:
    """`ipsecbpf -j monitor` of a host; only what it tells about SAs."""

    def __init__(self, host):
        self.process = host.spawn(net.IPSECBPF, "-j", "monitor", net.IFNAME)
        self.seen = []
        self.changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()
        # Only what happens from now on is told: "now" must have been.
        net.wait_until(self._catches, "the monitor sleeps in its first wait")

    def _catches(self):
        with open(f"/proc/{self.process.pid}/wchan") as file:
            return "poll" in file.read()

    def _read(self):
        for line in self.process.stdout:
            event = json.loads(line)
            if event["event"] == "notice" and "change" in event:
                with self.changed:
                    self.seen.append(event)
                    self.changed.notify_all()

    def _find(self, wanted):
        return next((event for event in self.seen
                     if all(event[key] == value for key, value in wanted.items())), None)

    def wait(self, timeout=8.0, **wanted):
        """The first event, from now or before, with these members."""
        with self.changed:
            if not self.changed.wait_for(lambda: self._find(wanted), timeout):
                raise net.Failure(f"not told within {timeout} s: {wanted}; told {self.seen}")
            return self._find(wanted)


@pytest.fixture
def monitor():
    running = []

    def start(host):
        running.append(Monitor(host))
        return running[-1]
    yield start
    for one in running:
        one.process.terminate()


class Flow:
    """Numbered datagrams from one host to another, one each millisecond and a half."""

    def __init__(self, sender, receiver, count, family=4, port=7000):
        kind = socket.AF_INET6 if family == 6 else socket.AF_INET
        self.count = count
        self.got = set()
        self.receiver = receiver.socket(kind, socket.SOCK_DGRAM)
        self.receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        self.receiver.bind((receiver.address(family), port))
        self.receiver.settimeout(3)
        self.sender = sender.socket(kind, socket.SOCK_DGRAM)
        self.sender.connect((receiver.address(family), port))
        self.sent = 0
        self.threads = [threading.Thread(target=self._send), threading.Thread(target=self._receive)]
        for thread in self.threads:
            thread.start()

    def _send(self):
        for number in range(self.count):
            self.sender.send(struct.pack("!I", number))
            self.sent = number + 1
            time.sleep(0.0015)      # the rate, not a wait for something

    def _receive(self):
        try:
            while len(self.got) < self.count:
                self.got.add(struct.unpack("!I", self.receiver.recv(16))[0])
        except socket.timeout:
            pass

    def lost(self):
        for thread in self.threads:
            thread.join()
        self.sender.close()
        self.receiver.close()
        return sorted(set(range(self.count)) - self.got)


def send(sender, receiver, count, family=4, size=32, port=7100):
    with sender.socket(socket.AF_INET6 if family == 6 else socket.AF_INET,
                       socket.SOCK_DGRAM) as out:
        for _ in range(count):
            out.sendto(bytes(size), (receiver.address(family), port))


def esp_from(capture, host):
    return [frame for frame in capture.taken(host.name) if net.kind(frame) == "esp"]


def clear(capture):
    return [frame for frame in capture.taken() if net.kind(frame) in ("clear", "non_ip")]


def fills_up(topology, family, drops):
    """Sends datagrams until `a` has dropped three for its SA; what was on the wire until then."""
    a, b = topology.a, topology.b
    capture = topology.capture()
    before = {reason: a.drops(reason) for reason in drops}

    def dropped():
        send(a, b, 1, family)
        return sum(a.drops(reason) - before[reason] for reason in drops) >= 3
    net.wait_until(dropped, f"one of {drops} three times")
    return capture


# ---- limits -------------------------------------------------------------------------------------

@FAMILIES
def test_hard_limit_in_packets(product, wire, monitor, family):
    """Exactly so many are sent, by whichever path the SA ends."""
    attach(wire, limited(wire, hard={"packets": 25}))
    a = wire.a
    told = monitor(a)
    spi = outbound(a, family)["spi"]
    capture = fills_up(wire, family, ("lifetime", "no_sa_out"))
    event = told.wait(change="expired", spi=spi)
    assert (event["why"], event["direction"], event["peer"]) == ("packets", "out", "peer")
    assert sas_of(a, spi=spi) == [], "an expired SA is gone"
    no_sa = a.drops("no_sa_out")
    send(a, wire.b, 3, family)
    a.wait_drop("no_sa_out", no_sa, 3)
    assert len(esp_from(capture, a)) == 25
    assert clear(capture) == []


def test_hard_limit_in_bytes(product, wire, monitor):
    """The packet that would pass the limit is not sent, and the SA ends although some are left."""
    attach(wire, limited(wire, hard={"bytes": 1000}))
    told = monitor(wire.a)
    spi = outbound(wire.a)["spi"]
    capture = fills_up(wire, 4, ("lifetime", "no_sa_out"))
    assert told.wait(change="expired", spi=spi)["why"] == "bytes"
    assert len(esp_from(capture, wire.a)) == 1000 // 60     # 20 + 8 + 32
    assert clear(capture) == []


def test_hard_limit_in_seconds(product, wire, monitor):
    a, b = wire.a, wire.b
    told, spi = attach_watched(wire, monitor, limited(wire, hard={"seconds": 3}))
    a.run("ping", "-c1", "-W5", b.address(4))
    event = told.wait(change="expired", spi=spi)
    assert event["why"] == "seconds"
    capture = fills_up(wire, 4, ("no_sa_out",))
    assert esp_from(capture, a) == [] and clear(capture) == []
    net.wait_until(lambda: not sas_of(b, spi=spi), "b's half has the limit too")


def test_an_inbound_sa_expires_too(product, wire, monitor):
    document = net.both_ways(wire.a, wire.b, families=(4,))
    attach(wire, document, only=wire.a)
    for sa in document["sas"]:
        sa["limits"] = {"hard": {"packets": 10}}
    wire.b.ipsecbpf("sa", "apply", net.IFNAME,
                    wire.write("limited.json", document, mode=0o600), "--fresh")
    told = monitor(wire.b)
    send(wire.a, wire.b, 20)
    event = told.wait(change="expired", direction="in")
    assert event["why"] == "packets"
    no_sa = wire.b.drops("no_sa_in")
    send(wire.a, wire.b, 2)
    wire.b.wait_drop("no_sa_in", no_sa, 2)


def test_an_older_sa_takes_over(product, wire, monitor):
    """Of two outbound SAs the newest is used; when it expires, the other is."""
    attach(wire, net.both_ways(wire.a, wire.b, spi=0x1000))
    told = monitor(wire.a)
    newer = wire.write("newer.json", limited(wire, hard={"packets": 5}, spi=0x2000), mode=0o600)
    for host in (wire.b, wire.a):
        host.ipsecbpf("sa", "apply", net.IFNAME, newer, "--fresh")
    (sa,) = sas_of(wire.a, dir="out", src=wire.a.address(4), active=True)
    assert sa["spi"] == 0x2040
    wire.a.run("ping", "-c8", "-i0.01", wire.b.address(4), check=False)
    told.wait(change="expired", spi=0x2040)
    (sa,) = sas_of(wire.a, dir="out", src=wire.a.address(4))
    assert sa["spi"] == 0x1040 and sa["active"]
    wire.a.run("ping", "-c1", "-W5", wire.b.address(4))


def test_soft_limits_are_told_once_each(product, wire, monitor):
    a, b = wire.a, wire.b
    told, spi = attach_watched(wire, monitor, limited(
            wire, soft={"packets": 5, "seconds": 1, "bytes": 200},
            hard={"packets": 1000, "bytes": 100000, "seconds": 3600}))
    a.run("ping", "-c10", "-i0.01", "-W5", b.address(4))
    for why in ("packets", "bytes", "seconds"):
        event = told.wait(change="dying", spi=spi, why=why)
        assert event["text"] and event["protection"] == "wire"
    sa = outbound(a)
    assert sa["state"] == "dying" and sa["active"]
    assert sa["left"]["packets"] == 990 and sa["left"]["bytes"] == 100000 - sa["bytes"]
    assert 3590 < sa["left"]["seconds"] < 3600 and sa["limits"]["soft"]["packets"] == 5
    a.run("ping", "-c10", "-i0.01", "-W5", b.address(4))
    # The end of the SA is told after everything that is told of its life.
    a.ipsecbpf("sa", "delete", net.IFNAME, "--dst", b.address(4), "--spi", spi)
    told.wait(change="removed", spi=spi)
    dying = [event["why"] for event in told.seen if event["spi"] == spi and
             event["change"] == "dying"]
    assert sorted(dying) == ["bytes", "packets", "seconds"]


def set_records(host, number):
    """The next number of every key of this host, as if all before had been sent."""
    check = ((number ^ RECORD_MAGIC) * 0x9e3779b97f4a7c15 + 1) & (1 << 64) - 1
    record = struct.pack("=QQQ", RECORD_MAGIC, number, check)
    escaped = "".join(f"\\{octet:03o}" for octet in record + bytes(512 - 24) + record)
    for name in host.run("ls", SEQ_DIR).stdout.split():
        host.run("sh", "-c", f"printf '{escaped}' > {SEQ_DIR}/{name}")


@pytest.mark.parametrize("esn", (False, True), ids=("noesn", "esn"))
def test_three_quarters_of_the_sequence_numbers(product, wire, monitor, esn):
    bits = 64 if esn else 32
    attach(wire, net.both_ways(wire.a, wire.b, esn=esn), only=wire.b)
    a, b = wire.a, wire.b
    a.ipsecbpf("sa", "apply", net.IFNAME, wire.path("sa.json"), "--fresh")
    a.ipsecbpf("sa", "flush", net.IFNAME)
    set_records(a, 3 * (1 << bits - 2) - 3)
    told = monitor(a)
    a.ipsecbpf("sa", "apply", net.IFNAME, wire.path("sa.json"))
    # With ESN nobody would follow such a leap (RFC 4303 appendix A): it is enough that a sends.
    for family, count in ((6, 3), (4, 4)):
        send(a, b, count, family)
        net.wait_until(lambda f=family, n=count: outbound(a, f)["packets"] == n, "packets sent")
    event = told.wait(change="dying", spi=outbound(a)["spi"])
    assert event["why"] == "sequence" and outbound(a)["state"] == "dying"
    assert outbound(a, 6)["state"] == "valid", "one number fewer is not it"


def test_the_last_sequence_number_is_the_end(product, wire):
    """Without ESN 2^32 - 1 is the last; nothing wraps, and nothing leaves in the clear."""
    attach(wire, net.both_ways(wire.a, wire.b, esn=False), only=wire.b)
    a = wire.a
    a.ipsecbpf("sa", "apply", net.IFNAME, wire.path("sa.json"), "--fresh")
    a.ipsecbpf("sa", "flush", net.IFNAME)
    set_records(a, (1 << 32) - 10)
    a.ipsecbpf("sa", "apply", net.IFNAME, wire.path("sa.json"))
    capture = fills_up(wire, 4, ("seq_exhausted",))
    sequence = [struct.unpack_from("!I", frame, 14 + 20 + 4)[0] for frame in esp_from(capture, a)]
    assert sequence == list(range((1 << 32) - 10, 1 << 32))
    assert clear(capture) == []


# ---- how many -----------------------------------------------------------------------------------

def test_four_inbound_sas(pair):
    a = pair.a
    for number in range(2, 5):
        path = pair.write(f"{number}.json", net.both_ways(pair.a, pair.b, spi=number * 0x1000),
                          mode=0o600)
        a.ipsecbpf("sa", "apply", net.IFNAME, path, "--fresh")
    before = a.json("sa", "list", net.IFNAME)["sas"]
    assert len(before) == 16
    assert sum(sa.get("active", False) for sa in before) == 2
    assert all(sa["spi"] & 0xf000 == 0x4000 for sa in before if sa.get("active"))
    fifth = pair.write("5.json", net.both_ways(pair.a, pair.b, spi=0x5000), mode=0o600)
    for command in ("apply", "rotate"):
        done = a.ipsecbpf("sa", command, net.IFNAME, fifth, "--fresh", check=False)
        assert done.returncode == 1
        assert "4" in done.stderr and "sa delete" in done.stderr and "sa rotate" in done.stderr
    assert {sa["slot"] for sa in sas_of(a)} == {sa["slot"] for sa in before}
    for family in (4, 6):
        a.ipsecbpf("sa", "delete", net.IFNAME, "--dst", a.address(family), "--spi",
                   0x1000 + 16 * family + 1)
    a.ipsecbpf("sa", "apply", net.IFNAME, fifth, "--fresh")


# ---- delete -------------------------------------------------------------------------------------

def test_delete(pair, monitor):
    a, b = pair.a, pair.b
    told = monitor(a)
    spi = outbound(a)["spi"]
    done = a.ipsecbpf("sa", "delete", net.IFNAME, "--dst", b.address(4), "--spi", spi + 0x100,
                      check=False)
    assert done.returncode == 1 and "no such SA" in done.stderr and "sa list" in done.stderr
    done = a.ipsecbpf("sa", "delete", net.IFNAME, "--dst", b.address(4), "--spi", spi,
                      "--proto", "ah", check=False)
    assert done.returncode == 1 and "proto ah" in done.stderr
    assert a.ipsecbpf("sa", "delete", net.IFNAME, "--dst", "nowhere", "--spi", spi,
                      check=False).returncode == 2
    a.ipsecbpf("sa", "delete", net.IFNAME, "--dst", b.address(4), "--spi", hex(spi))
    assert told.wait(change="removed", spi=spi)["why"] == "command"
    assert len(sas_of(a)) == 3
    before, capture = a.drops("no_sa_out"), pair.capture()
    send(a, b, 3)
    a.wait_drop("no_sa_out", before, 3)
    assert esp_from(capture, a) == [] and clear(capture) == []
    a.run("ping", "-c1", "-W5", b.address(6))
    a.ipsecbpf("sa", "delete", net.IFNAME, "--dst", a.address(6), "--spi",
               sas_of(a, dir="in", dst=a.address(6))[0]["spi"])
    before = a.drops("no_sa_in")
    send(b, a, 3, 6)
    a.wait_drop("no_sa_in", before, 3)


# ---- rotate -------------------------------------------------------------------------------------

def new_file(pair, **more):
    return pair.write("new.json", net.both_ways(pair.a, pair.b, spi=0x2000, **more), mode=0o600)


def rotate(host, path, *options, check=True):
    return host.ipsecbpf("sa", "rotate", net.IFNAME, path, "--fresh", *options, check=check)


def spis(host):
    return sorted({sa["spi"] & 0xf000 for sa in sas_of(host)})


@FAMILIES
def test_rotate_loses_nothing(pair, family):
    """Both directions under load, the second host some time after the first."""
    a, b = pair.a, pair.b
    counter = pair.wirecount()
    before = [(host.drops(), host) for host in (a, b)]
    flows = [Flow(a, b, 5000, family), Flow(b, a, 5000, family)]
    path = new_file(pair)
    net.wait_until(lambda: all(flow.sent > 300 for flow in flows), "traffic")
    rotate(a, path, "--drain", 2, "--switch-after", 4)
    mark = flows[0].sent
    net.wait_until(lambda: flows[0].sent > mark + 300, "traffic with one host told")
    assert {sa["state"] for sa in sas_of(a) if sa["spi"] & 0x2000} == {"pending"}
    rotate(b, path, "--drain", 2, "--switch-after", 4)
    assert [flow.lost() for flow in flows] == [[], []]
    for host in (a, b):
        net.wait_until(lambda h=host: spis(h) == [0x2000], f"{host.name}: old SAs gone", 15)
        assert {sa["state"] for sa in sas_of(host)} == {"valid"}
        assert all(sa["active"] for sa in sas_of(host, dir="out"))
    for drops, host in before:
        # The hosts' own multicast listener reports are no part of this.
        risen = {reason: count - drops[reason] for reason, count in host.drops().items()
                 if count > drops[reason] and reason != "policy_discard"}
        assert risen == {}, f"host {host.name}"
    result = counter.stop()
    assert result["clear"] == 0 and result["repeated_iv"] == 0 and result["lost"] == 0
    used = {row["spi"] & 0xf000: row["packets"] for row in result["spis"]
            if row["packets"] > 100}
    assert sorted(used) == [0x1000, 0x2000], "both generations carried traffic"


def test_the_peer_is_followed(pair, monitor):
    """The host that was told last switches when it hears the other, long before its own time."""
    a, b = pair.a, pair.b
    told = monitor(b)
    path = new_file(pair, families=(4,))
    rotate(b, path, "--switch-after", 600)
    rotate(a, path, "--switch-after", 1)
    # The first of a's packets that goes by the new SA lets b follow.
    net.wait_until(lambda: outbound_new(a)["state"] == "valid", "a's time is over")
    a.run("ping", "-c1", "-W5", b.address(4))
    # Packets tagged with it may still be on their way to the worker: it is not removed at once.
    net.wait_until(lambda: sas_of(b, dir="out", state="draining"), "the old outbound SA drains")
    event = told.wait(change="rotated")
    assert event["why"] == "peer" and event["spi"] == outbound_new(b)["spi"]
    states = {(sa["dir"], sa["spi"] & 0xf000): sa["state"] for sa in sas_of(b)
              if sa["src"] in (a.address(4), b.address(4))}
    assert states["in", 0x1000] == "draining" and states["in", 0x2000] == "valid"
    assert states["out", 0x2000] == "valid"
    # What the file does not name goes on as it was.
    a.run("ping", "-c1", "-W5", b.address(6))
    assert {sa["state"] for sa in sas_of(b, src=a.address(6))} == {"valid"}


def outbound_new(host):
    (sa,) = sas_of(host, dir="out", spi=next(
            sa["spi"] for sa in sas_of(host, dir="out") if sa["spi"] & 0xf000 == 0x2000))
    return sa


def test_second_rotation_is_refused_while_one_is_pending(pair):
    a = pair.a
    rotate(a, new_file(pair), "--switch-after", 600)
    before = sas_of(a)
    third = pair.write("third.json", net.both_ways(pair.a, pair.b, spi=0x3000), mode=0o600)
    done = rotate(a, third, check=False)
    assert done.returncode == 1 and "pending" in done.stderr and "sa list" in done.stderr
    again = rotate(a, pair.path("new.json"), check=False)
    assert again.returncode == 1 and "new SAs" in again.stderr
    assert {sa["slot"] for sa in sas_of(a)} == {sa["slot"] for sa in before}
    # Taken back by hand, the way is free.
    for sa in before:
        if sa["state"] == "pending":
            a.ipsecbpf("sa", "delete", net.IFNAME, "--dst", sa["dst"], "--spi", sa["spi"])
    rotate(a, third)


def test_rotate_is_all_or_nothing(pair):
    """One outbound key without a record: no SA of the file is there."""
    a = pair.a
    document = net.both_ways(pair.a, pair.b, spi=0x2000)
    document["sas"].reverse()       # an inbound SA, which needs no record, comes first
    path = pair.write("new.json", document, mode=0o600)
    before = sas_of(a)
    done = a.ipsecbpf("sa", "rotate", net.IFNAME, path, check=False)
    assert done.returncode == 1 and "--fresh" in done.stderr
    assert [sa["spi"] for sa in sas_of(a)] == [sa["spi"] for sa in before]
    assert all(sa["state"] == "valid" for sa in sas_of(a))
    rotate(a, path)


def test_rotate_on_one_host_only(pair):
    """What was rotated too early works again once the other host is told."""
    a, b = pair.a, pair.b
    path = new_file(pair)
    rotate(a, path, "--switch-after", 1, "--drain", 1)
    net.wait_until(lambda: spis(a) == [0x2000], "a: the old SAs are gone", 15)
    before = b.drops("no_sa_in"), a.drops("no_sa_in")
    capture = pair.capture()
    send(a, b, 3)
    b.wait_drop("no_sa_in", before[0], 3)
    send(b, a, 3)
    a.wait_drop("no_sa_in", before[1], 3)
    assert clear(capture) == []
    rotate(b, path, "--drain", 1)
    for family in (4, 6):
        net.wait_until(lambda f=family: a.run("ping", "-c1", "-W1", b.address(f),
                                              check=False).returncode == 0, "b has followed", 15)
    net.wait_until(lambda: spis(b) == [0x2000], "b: the old SAs are gone", 15)


def test_old_inbound_sas_drain(pair):
    """The peer may take its time to follow: what it sends by the old SAs is received until then."""
    a, b = pair.a, pair.b
    rotate(a, new_file(pair, families=(4,)), "--switch-after", 1, "--drain", 600)
    net.wait_until(lambda: len(sas_of(a, dir="out", src=a.address(4))) == 1,
                   "a: the old outbound SA is gone", 15)
    (old,) = sas_of(a, dir="in", state="draining")
    assert old["src"] == b.address(4) and old["spi"] == 0x1041
    send(b, a, 5)
    net.wait_until(lambda: sas_of(a, spi=0x1041)[0]["packets"] == 5, "received by the old SA")


def test_pending_sa_is_used_where_there_is_no_other(pair):
    """Nothing to keep while waiting: better an SA that the peer may have than none."""
    a, b = pair.a, pair.b
    b.ipsecbpf("sa", "apply", net.IFNAME, new_file(pair), "--fresh")
    rotate(a, pair.path("new.json"), "--switch-after", 600)
    for family in (4, 6):
        a.ipsecbpf("sa", "delete", net.IFNAME, "--dst", b.address(family), "--spi",
                   0x1000 + 16 * family)
    counter = pair.wirecount()
    a.run("ping", "-c3", "-i0.01", "-W5", b.address(4))
    result = counter.stop()
    assert result["clear"] == 0
    assert 0x2040 in [row["spi"] for row in result["spis"]]


# ---- list ---------------------------------------------------------------------------------------

def test_list_tells_all(pair):
    a, b = pair.a, pair.b
    a.run("ping", "-c4", "-i0.01", "-W5", b.address(4))
    (sa,) = sas_of(a, dir="in", src=b.address(4))
    assert sa["packets"] == 4 and sa["bytes"] == 4 * 84 and sa["seq"] == 4
    assert sa["icv_failed"] == sa["replayed"] == sa["lost"] == 0
    assert sa["idle_ms"] < 30000 and sa["age"] < 60 and sa["state"] == "valid"
    nothing = {"bytes": None, "packets": None, "seconds": None}
    assert sa["limits"] == {"soft": nothing, "hard": nothing} and sa["left"] == nothing
    assert sa["encap"] is None and sa["moved_to"] is None and sa["path_mtu"] == 0
    short = a.ipsecbpf("sa", "list", net.IFNAME).stdout
    assert max(map(len, short.splitlines())) <= 132, short
    long = a.ipsecbpf("sa", "list", net.IFNAME, "--stats").stdout
    for word in (sa["fingerprint"], "replayed 0", "lost 0", "inner-mtu", "replay-window 1024"):
        assert word in long and (word not in short)


# ---- what the hooks see -------------------------------------------------------------------------

def dump(host, name):
    path = f"{net.PIN_ROOT}/{host.key}/maps/{name}"
    return json.loads(host.run("bpftool", "-j", "map", "dump", "pinned", path).stdout)


def test_maps_show_both_directions_and_who_sends(pair):
    """Outbound SAs are in map sad, flagged; sad_peers counts the inbound ones; all go again."""
    a = pair.a
    flags = sorted(entry["formatted"]["value"]["flags"] & 8 for entry in dump(a, "sad"))
    assert flags == [0, 0, 8, 8]
    assert [entry["formatted"]["value"] for entry in dump(a, "sad_peers")] == [1, 1]
    a.ipsecbpf("sa", "apply", net.IFNAME, new_file(pair), "--fresh")
    assert [entry["formatted"]["value"] for entry in dump(a, "sad_peers")] == [2, 2]
    a.ipsecbpf("sa", "flush", net.IFNAME)
    assert dump(a, "sad") == [] and dump(a, "sad_peers") == []


def set_state(host, slot, **fields):
    """Writes members of one struct sa_state, as the worker would."""
    offsets = {"icv_failed": (48, "=Q"), "lost": (64, "=Q"), "path_mtu_ns": (88, "=Q"),
               "peer": (96, "4s"), "peer_port": (112, "!H"), "path_mtu": (116, "=I")}
    path = f"{net.PIN_ROOT}/{host.key}/maps/sa_state"
    key = [f"{octet}" for octet in struct.pack("=I", slot)]
    found = json.loads(host.run("bpftool", "-j", "map", "lookup", "pinned", path, "key",
                                *key).stdout)
    value = bytearray(int(octet, 16) for octet in found["value"])
    assert len(value) == 704
    for name, number in fields.items():
        offset, layout = offsets[name]
        struct.pack_into(layout, value, offset, number)
    host.run("bpftool", "map", "update", "pinned", path, "key", *key, "value",
             *[f"{octet}" for octet in value])


def test_list_tells_what_the_worker_has_learnt(pair):
    a = pair.a
    before = outbound(a)
    now = time.monotonic_ns()
    set_state(a, before["slot"], path_mtu=1300, path_mtu_ns=now, icv_failed=7, lost=9,
              peer=bytes([192, 0, 2, 1]), peer_port=4500)
    sa = outbound(a)
    assert sa["path_mtu"] == 1300 and before["inner_mtu"] - sa["inner_mtu"] == 200
    assert sa["icv_failed"] == 7 and sa["lost"] == 9
    assert sa["moved_to"] == {"address": "192.0.2.1", "port": 4500}
    assert a.status()["inner_mtu"] == sa["inner_mtu"]
    assert "path-mtu 1300" in a.ipsecbpf("sa", "list", net.IFNAME, "-s").stdout
    # Forgotten after ten minutes, as by the kernel.
    set_state(a, before["slot"], path_mtu_ns=now - 601 * 10**9 & (1 << 64) - 1)
    sa = outbound(a)
    assert sa["path_mtu"] == 0 and sa["inner_mtu"] == before["inner_mtu"]


def test_udp_sas_are_counted(product, wire):
    encap = {"encap": {"sport": 4500, "dport": 4500}}
    attach(wire, net.both_ways(wire.a, wire.b, **encap), only=wire.a)
    a = wire.a
    assert dump(a, "control")[0]["formatted"]["value"]["udp_sas"] == 2
    assert dump(a, "sad_peers") == []
    keys = [entry["formatted"]["key"] for entry in dump(a, "sad")]
    assert len(keys) == 4
    wire_order = int.from_bytes(struct.pack("!H", 4500), "little")
    assert {key["encap_port"] for key in keys} == {wire_order}
    a.ipsecbpf("sa", "flush", net.IFNAME)
    assert dump(a, "control")[0]["formatted"]["value"]["udp_sas"] == 0
