# SPDX-License-Identifier: BSD-2-Clause
"""What is said of one application changes nothing for others (RFC 4301 has no say in that; users do)."""
import contextlib
import json
import random
import re
import threading

import pytest

import topology as net
from applications import EVERYTHING, TCP, UDP, application, datagram_socket, hear, stage
from sockets import Refused

EDITS = 40
PORTS = {"app": 7400, "second": 7401, "other": 7402}
SECURED = {"app": True, "second": True, "other": False}
TRUSTED = [{"remote": "any", "class": "trusted"}]


@pytest.fixture(scope="module")
def attached(product):
    with stage() as scene:
        scene.cgroup.add("second")
        scene.attach()
        yield scene


@pytest.fixture
def scene(attached):
    for host in (attached.a, attached.b):
        attached.apply(host, attached.policy(host, *blocks(attached)))
    with attached.one_test():
        yield attached


def second(scene, networks=None, **more):
    return application("second", {"cgroup": scene.cgroup.path("second")}, networks, **more)


def blocks(scene):
    return [scene.app(), second(scene)]


def strangers(scene, dice):
    """Blocks about programs that do not run here."""
    kinds = (lambda n: {"cgroup": scene.cgroup.path(f"nobody-{n}")}, lambda n: {"unit": f"x{n}.service"},
             lambda n: {"user": 40000 + n}, lambda n: {"executable": "/usr/bin/true", "user": 50000 + n},
             lambda n: {"cgroup": scene.cgroup.path("app"), "user": 60000 + n})
    networks = (TRUSTED, EVERYTHING, [{"remote": "any", "class": "untrusted"}])
    return [application(f"x{n}", dice.choice(kinds)(n), dice.choice(networks),
                        default=dice.choice(["host", "discard"])) for n in range(dice.randrange(30))]


class Talk:
    """Datagrams from a to b and back, one after the other, until stop()."""

    def __init__(self, scene, name):
        self.name, self.scene = name, scene
        self.one, self.other = scene.actor(scene.a, name), scene.actor(scene.b, name)
        datagram_socket(self.one, port=PORTS[name])
        datagram_socket(self.other, port=PORTS[name])
        self.one.do(f"s.connect(({scene.b.address(4)!r}, {PORTS[name]}))")
        self.other.do(f"s.connect(({scene.a.address(4)!r}, {PORTS[name]}))")
        self.rounds, self.failure, self.stopping = 0, None, False
        self.thread = threading.Thread(target=self._run)

    def round(self):
        for sender, receiver in ((self.one, self.other), (self.other, self.one)):
            sender.do(f"s.send(b'{self.rounds}')")
            assert hear(receiver) == str(self.rounds)
        self.rounds += 1

    def _run(self):
        try:
            while not self.stopping:
                self.round()
        except (AssertionError, Refused, net.Failure) as failure:
            self.failure = failure

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stopping = True
        self.thread.join()


def verdicts(scene):
    """Port -> was it protected, of all that was seen."""
    seen = {}
    for packet in scene.wire.packets():
        if packet.proto in (TCP, UDP):
            seen.setdefault(packet.dst_port, set()).add(packet.secured)
    return seen


# ---- reload -------------------------------------------------------------------------------------

def edited(scene, host, dice):
    """Applications come, go, and change places; of the two that run nothing changes."""
    found = strangers(scene, dice) + blocks(scene)
    dice.shuffle(found)
    return scene.policy(host, *found)


def edit(scene, dice, enough):
    """So often, and until there was enough traffic meanwhile."""
    edits = 0
    while edits < EDITS or not enough():
        host = dice.choice([scene.a, scene.b])
        scene.apply(host, edited(scene, host, dice))
        edits += 1


def test_nobody_is_touched_by_what_others_get(scene):
    """Under traffic: not one datagram is lost, and none is on the wire otherwise than it was."""
    dice = random.Random(1)
    talks = [Talk(scene, name) for name in PORTS]
    with talks[0], talks[1], talks[2]:
        edit(scene, dice, lambda: any(talk.failure for talk in talks) or
             all(talk.rounds > EDITS for talk in talks))
    for talk in talks:
        assert talk.failure is None, talk.name
    assert verdicts(scene) == {PORTS[name]: {secured} for name, secured in SECURED.items()}


@pytest.mark.parametrize("change", ["gone", "trusted", "untrusted"])
def test_one_block_changes_and_only_its_application_does(scene, change):
    talks = {name: Talk(scene, name) for name in PORTS}
    for talk in talks.values():
        talk.round()
    changed = [scene.app()]
    if change != "gone":
        changed.append(second(scene, [{"remote": "any", "class": change}]))
    for host in (scene.a, scene.b):
        scene.apply(host, scene.policy(host, *changed))
    scene.wire.clear()
    talks["app"].round()
    talks["other"].round()
    if change == "untrusted":
        before = scene.a.drops("policy_discard")
        with contextlib.suppress(Refused):
            talks["second"].one.do("s.send(b'x')")
        scene.a.wait_drop("policy_discard", before)
    else:
        talks["second"].round()
    expected = {PORTS["app"]: {True}, PORTS["other"]: {False}, PORTS["second"]: {False}}
    if change == "untrusted":
        del expected[PORTS["second"]]
    assert verdicts(scene) == expected


FAULTS = {
    "class": lambda app: app["networks"][0].update({"class": "secret"}),
    "protection": lambda app: app["networks"][0]["protect"][0].update(protection="nowhere"),
    "peer": lambda app: app["networks"][0]["protect"][0].update(peer="nobody"),
    "match": lambda app: app.update(match=[]),
    "cgroup": lambda app: app["match"].update(cgroup="no/slash"),
    "user": lambda app: app["match"].update(user="nobody-of-that-name"),
    "executable": lambda app: app["match"].update(executable="relative"),
    "name": lambda app: app.update(name="app"),
    "flows": lambda app: app.update(max_flows=-1),
    "key": lambda app: app.update(unknown=1),
}


def test_an_error_in_one_block_leaves_everything_as_it_was(scene):
    """The file is refused whole, with the place of the error; nobody notices."""
    talks = [Talk(scene, name) for name in PORTS]
    serial = scene.a.status()["policy_serial"]
    with talks[0], talks[1], talks[2]:
        for name, spoil in FAULTS.items():
            document = json.loads(json.dumps(scene.policy(scene.a, *blocks(scene))))
            spoil(document["applications"][1])
            answer = scene.apply(scene.a, document, check=False)
            assert answer.returncode == 1, name
            assert re.search(r'applications\[1\]|application "(second|app)"', answer.stderr), answer.stderr
        before = [talk.rounds for talk in talks]
        net.wait_until(lambda: any(talk.failure for talk in talks) or
                       all(talk.rounds > rounds for talk, rounds in zip(talks, before)), "all go on")
    assert scene.a.status()["policy_serial"] == serial
    for talk in talks:
        assert talk.failure is None, talk.name
    assert verdicts(scene) == {PORTS[name]: {secured} for name, secured in SECURED.items()}


def test_connections_come_and_go_under_reload(scene):
    """Accepted, closed and refused while application numbers change: none of their packets is clear."""
    dice = random.Random(2)
    server, client = scene.actor(scene.b), scene.actor(scene.a)
    server.do("import threading")
    server.do("l = socket.create_server(('', 7403))")
    server.do("def serve():\n    while True:\n        c, _ = l.accept()\n        c.sendall(c.recv(9))\n"
              "        c.close()")
    server.do("threading.Thread(target=serve, daemon=True).start()")
    client.do("import struct")
    client.do("def once(abort):\n"
              f"    with socket.create_connection(({scene.b.address(4)!r}, 7403), 5) as s:\n"
              "        s.sendall(b'x')\n        s.recv(9)\n"
              "        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', abort, 0))")
    stop, done, failures = threading.Event(), [], []

    def clients():
        try:
            while not stop.is_set():
                client.do(f"once({len(done) % 2})")
                done.append(1)
        except (Refused, net.Failure) as failure:
            failures.append(failure)
    thread = threading.Thread(target=clients)
    thread.start()
    try:
        edit(scene, dice, lambda: failures or len(done) > EDITS)
    finally:
        stop.set()
        thread.join()
    assert failures == []
    assert scene.wire.unprotected() == []
