# SPDX-License-Identifier: BSD-2-Clause
"""Cgroups, executables and users that are not there, change or lie; policies that cannot be."""
import json
import os
import re
import shutil

import pytest

import topology as net
from applications import UDP, application, datagram_socket, stage
from sockets import PYTHON

PORT = 7500
UID, OTHER_UID = 12345, 23456
APPS_MAX = 10000
TRUSTED = [{"remote": "any", "class": "trusted"}]
WITHOUT_CGROUP2 = r"""
for at in $(sed -n 's/^[^ ]* [^ ]* [^ ]* [^ ]* \([^ ]*\) .* - cgroup2 .*/\1/p' /proc/self/mountinfo | tac)
do umount -l "$at" || exit 9; done
if grep -q ' - cgroup2 ' /proc/self/mountinfo; then exit 9; fi
exec "$@"
"""


@pytest.fixture(scope="module")
def attached(product):
    with stage() as scene:
        scene.attach()
        scene.receiver = scene.actor(scene.b, "receiver")
        datagram_socket(scene.receiver, port=PORT)
        yield scene


@pytest.fixture
def scene(attached):
    """Host b protects everything that its application says, and its receiver is another."""
    attached.wire.clear()
    yield attached
    attached.end(*[actor for actor in attached.actors if actor is not attached.receiver])
    attached.apply(attached.a, attached.policy(attached.a))


def named(scene, match, **more):
    """Host a's policy, whose only application is that."""
    return scene.policy(scene.a, application("app", match, **more))


def is_secured(scene, actor, name="s"):
    """Is what a new socket of the actor sends protected?"""
    datagram_socket(actor, name=name)
    return says_secured(scene, actor, name)


said = 0


def says_secured(scene, actor, name="s"):
    global said         # pylint: disable=global-statement
    said += 1
    text = f"number {said}"
    actor.do(f"{name}.sendto({text.encode()!r}, ({scene.b.address(4)!r}, {PORT}))")
    found = scene.wire.wait(lambda packet: packet.proto == UDP and packet.payload == text.encode(),
                            text, "a")
    return found.secured


# ---- cgroups ------------------------------------------------------------------------------------

def test_a_cgroup_that_is_not_there_yet(scene):
    scene.apply(scene.a, named(scene, {"cgroup": scene.cgroup.path("later/still")}))
    before = scene.actor(scene.a, "other")
    assert not is_secured(scene, before)
    assert is_secured(scene, scene.actor(scene.a, "later/still"))
    assert is_secured(scene, scene.actor(scene.a, "later/still/deeper"))
    assert not is_secured(scene, scene.actor(scene.a, "later"))


def test_a_cgroup_that_is_deleted_and_made_again(scene):
    scene.apply(scene.a, named(scene, {"cgroup": scene.cgroup.path("again")}))
    numbers = set()
    for _ in range(2):
        actor = scene.actor(scene.a, "again")
        assert is_secured(scene, actor)
        path = scene.cgroup.add("again")
        numbers.add(os.stat(path).st_ino)
        scene.end(actor)
        net.wait_until(lambda: not scene.cgroup._procs(path), "it is empty")
        os.rmdir(path)
    assert len(numbers) == 2


def test_a_cgroup_that_is_deleted_while_its_socket_lives_on(scene):
    """... in the hands of a process that is elsewhere by now."""
    scene.apply(scene.a, named(scene, {"cgroup": scene.cgroup.path("left")}))
    actor = scene.actor(scene.a, "left")
    assert is_secured(scene, actor)
    move(actor, scene.cgroup.add("other"))
    os.rmdir(scene.cgroup.add("left"))
    assert says_secured(scene, actor)
    assert not is_secured(scene, actor, "t")


def move(actor, cgroup):
    with open(os.path.join(cgroup, "cgroup.procs"), "w") as file:
        file.write(str(actor.pid))


def test_cgroups_are_not_renamed(scene):
    """What makes their paths names that stay."""
    path = scene.cgroup.add("stays")
    with pytest.raises(PermissionError):
        os.rename(path, f"{path}-not")


def test_two_applications_claim_one_cgroup(scene):
    """What would be chance is refused; one that asks for more besides is the more specific."""
    match, serial = {"cgroup": scene.cgroup.path("app")}, scene.a.status()["policy_serial"]
    both = [scene.app(), application("second", match, TRUSTED)]
    answer = scene.apply(scene.a, scene.policy(scene.a, *both), check=False)
    assert answer.returncode == 1
    assert re.search('"second": match: application "app" .* has the same one', answer.stderr)
    assert scene.a.status()["policy_serial"] == serial
    assert is_secured(scene, scene.actor(scene.a))
    both[1]["match"] = {**match, "user": UID}
    for order in (both, both[::-1]):
        scene.apply(scene.a, scene.policy(scene.a, *order))
        assert is_secured(scene, scene.actor(scene.a))
        assert not is_secured(scene, scene.actor(scene.a, uid=UID))


# ---- executables --------------------------------------------------------------------------------

def test_an_executable_that_is_replaced_while_it_runs(scene):
    """As package managers do: the new file is renamed over the old one."""
    program = scene.topology.path("program")
    shutil.copy(PYTHON, program)
    scene.apply(scene.a, named(scene, {"executable": program}))
    old = scene.actor(scene.a, "other", python=program)
    assert is_secured(scene, old)
    shutil.copy(PYTHON, f"{program}.new")
    os.rename(f"{program}.new", program)
    assert os.readlink(f"/proc/{old.pid}/exe").endswith("(deleted)")
    assert says_secured(scene, old) and is_secured(scene, old, "t")
    assert is_secured(scene, scene.actor(scene.a, "other", python=program))
    assert not is_secured(scene, scene.actor(scene.a, "other"))


def test_an_executable_that_is_not_there_yet(scene):
    program = scene.topology.path("later")
    scene.apply(scene.a, named(scene, {"executable": program}))
    shutil.copy(PYTHON, program)
    assert is_secured(scene, scene.actor(scene.a, "other", python=program))


# ---- users --------------------------------------------------------------------------------------

def become(actor, inside, outside):
    """In a user namespace of its own, in which `outside` is called `inside`."""
    actor.do("import ctypes")
    assert actor.do("ctypes.CDLL(None).unshare(0x10000000)") == 0
    if inside is not None:
        with open(f"/proc/{actor.pid}/uid_map", "w") as file:
            file.write(f"{inside} {outside} 1")
        assert actor.do("os.getuid()") == inside


@pytest.mark.parametrize("inside", [None, 0, OTHER_UID])
def test_a_user_is_who_it_is_outside_its_namespace(scene, inside):
    scene.apply(scene.a, named(scene, {"user": UID}))
    actor = scene.actor(scene.a, "other", uid=UID)
    become(actor, inside, UID)
    assert is_secured(scene, actor)


def test_nobody_becomes_a_user_by_a_namespace(scene):
    scene.apply(scene.a, named(scene, {"user": UID}))
    actor = scene.actor(scene.a, "other", uid=OTHER_UID)
    become(actor, UID, OTHER_UID)
    assert not is_secured(scene, actor)


# ---- policies that are refused ------------------------------------------------------------------

@pytest.mark.parametrize("match,why", [
    ({"user": 4294967295}, "user"), ({"user": -1}, "user"), ({"user": "nobody-of-that-name"}, "user"),
    ({"executable": "relative"}, "executable"), ({"cgroup": "a/b"}, "cgroup"),
    ({"cgroup": "/a/../b"}, "cgroup"), ({"cgroup": "/" + "a/" * 300 + "b"}, "cgroup"),
    ({"unit": "/a.service"}, "unit"), ({"group": 1 << 32}, "group"), ({}, "match"),
], ids=lambda value: str(value)[:40])
def test_a_match_that_cannot_be(scene, match, why):
    actor, serial = scene.actor(scene.a), scene.a.status()["policy_serial"]
    answer = scene.apply(scene.a, named(scene, match), check=False)
    assert answer.returncode == 1 and why in answer.stderr, answer.stderr
    assert scene.a.status()["policy_serial"] == serial
    assert is_secured(scene, actor)


def test_as_many_applications_as_there_may_be_and_one_more(scene):
    """The last of them is the one that runs."""
    crowd = [application(f"x{n}", {"unit": f"x{n}.service"}, TRUSTED) for n in range(APPS_MAX)]
    serial = scene.a.status()["policy_serial"]
    answer = scene.apply(scene.a, scene.policy(scene.a, *crowd, scene.app()), check=False)
    assert answer.returncode == 1 and str(APPS_MAX) in answer.stderr, answer.stderr
    assert scene.a.status()["policy_serial"] == serial
    assert is_secured(scene, scene.actor(scene.a))
    scene.apply(scene.a, scene.policy(scene.a, *crowd[1:], scene.app()))
    assert is_secured(scene, scene.actor(scene.a))
    assert not is_secured(scene, scene.actor(scene.a, "other"))


def test_no_cgroup2_in_sight(product):
    """As under `ip netns exec`: without applications it works, with them it is refused."""
    with stage() as scene:
        def attach(policy, check):
            return scene.a.run("unshare", "--mount", "sh", "-c", WITHOUT_CGROUP2, "sh", net.IPSECBPF,
                               "attach", net.IFNAME, "--policy", "-", input=json.dumps(policy),
                               check=check)
        answer = attach(scene.policy(scene.a), False)
        assert answer.returncode == 1 and "cgroup2" in answer.stderr, answer.stderr
        assert not scene.a.attached()
        attach(scene.plain(scene.a), True)
        answer = scene.apply(scene.a, scene.policy(scene.a), check=False)
        assert answer.returncode == 1 and "no cgroup2 was mounted" in answer.stderr
        assert "detach and attach again" in answer.stderr
        assert scene.a.status()["policy_serial"] == 1
