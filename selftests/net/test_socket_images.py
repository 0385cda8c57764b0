# SPDX-License-Identifier: BSD-2-Clause
"""Who a program in execution is is remembered (bpf/sock_image.h): it is found out anew whenever it may
have changed, and not otherwise."""
import json
import os
import shutil
import struct

import pytest

import sockets
import topology as net
from sockets import bpf, document, trusted

UID, GID = 12345, 23456
OPEN = "socket.socket(socket.AF_INET, socket.SOCK_STREAM)"
BPF_MAP_UPDATE_ELEM, BPF_MAP_GET_FD_BY_ID = 2, 14
WHO = 104   # octets of struct app_identity
ENVIRONMENT = {"PYTHONHOME": "/usr"}    # for a python that is somewhere else


@pytest.fixture(scope="module")
def attached(product):
    with sockets.scene() as scene:
        scene.attach(scene.policy())
        yield scene


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A directory that is two below one that tests may rename, with python as `one` in it."""
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    directory = tmp_path / "above" / "bin"
    directory.mkdir(parents=True)
    shutil.copy(sockets.PYTHON, directory / "one")
    return directory


def who(scene, actor):
    """Of a socket that the actor makes now."""
    actor.do(f"s = {OPEN}")
    return scene.who(actor)


def exe(scene, path):
    return sockets.exe_digest(sockets.seed_of(scene.a), str(path))


def bpftool(*arguments):
    return json.loads(net.run_command(["/usr/sbin/bpftool", "-j", *map(str, arguments)]).stdout)


def images_id(host):
    """The map that only the hooks have."""
    link = os.path.join(net.PIN_ROOT, host.key, "links", "sock_create")
    program = bpftool("prog", "show", "id", bpftool("link", "show", "pinned", link)["prog_id"])
    return next(number for number in program["map_ids"]
                if bpftool("map", "show", "id", number)["name"] == "images")


def images(scene, actor):
    """What is remembered of a process: raw keys and values."""
    found = bpftool("map", "dump", "id", images_id(scene.a))
    return [(bytes(int(octet, 16) for octet in entry["key"]),
             bytes(int(octet, 16) for octet in entry["value"]))
            for entry in found if entry["formatted"]["key"]["tgid"] == actor.pid]


# ---- what changes ----------------------------------------------------------------------------------

def test_one_entry_serves_all_sockets_of_a_program(scene):
    actor = scene.actor()
    first = who(scene, actor)
    assert [who(scene, actor).who for _ in range(3)] == [first.who] * 3
    actor.do("import threading")
    actor.do(f"def make(): global s; s = {OPEN}\n")
    actor.do("t = threading.Thread(target=make)")
    actor.do("t.start() or t.join()")
    assert scene.who(actor).who == first.who
    (_, value), = images(scene, actor)
    assert value[:WHO] == first.who and struct.unpack_from("=Q", value, WHO) == (first.resolved,)


def test_another_program_in_the_same_process(scene, programs):
    actor = scene.actor()
    assert who(scene, actor).exe == exe(scene, sockets.PYTHON)
    code = f"import sys; print('null', flush=True); sys.argv = ['actor']; " \
           f"exec(compile(open({sockets.HERE + '/actor.py'!r}).read(), 'actor', 'exec'))"
    actor.process.stdin.write(json.dumps(
        f"os.execv({str(programs / 'one')!r}, ['one', '-c', {code!r}])") + "\n")
    actor.process.stdin.flush()
    assert actor.process.stdout.readline() == "null\n"
    assert actor.do("os.getpid()") == actor.pid
    assert who(scene, actor).exe == exe(scene, programs / "one")


def test_another_user_and_group(scene):
    actor = scene.actor()
    assert (who(scene, actor).uid, scene.who(actor).gid) == (0, 0)
    actor.do(f"os.setresgid({GID}, 0, 0)")
    assert (who(scene, actor).uid, scene.who(actor).gid) == (0, GID)
    actor.do(f"os.setresuid({UID}, 0, 0)")
    assert (who(scene, actor).uid, scene.who(actor).gid) == (UID, GID)


def test_another_cgroup(scene):
    actor = scene.actor("app")
    actor.do(f"before = {OPEN}")
    seed = sockets.seed_of(scene.a)
    for where, app in (("other", 0), ("app", 1)):
        with open(os.path.join(scene.cgroup.add(where), "cgroup.procs"), "w") as file:
            file.write(str(actor.pid))
        noted = who(scene, actor)
        assert noted.cgroup == sockets.cgroup_digests(seed, scene.cgroup.path(where))[0]
        assert noted.app == app
        assert scene.who(actor, "before").app == 1


def test_a_program_that_is_renamed(scene, programs):
    actor = scene.actor(python=str(programs / "one"))
    assert who(scene, actor).exe == exe(scene, programs / "one")
    os.rename(programs / "one", programs / "two")
    assert who(scene, actor).exe == exe(scene, programs / "two")
    os.rename(programs / "two", programs.parent / "two")
    assert who(scene, actor).exe == exe(scene, programs.parent / "two")


def test_a_program_that_is_replaced(scene, programs):
    """As packages are upgraded: old and new are the same program."""
    old = scene.actor(python=str(programs / "one"))
    expected = exe(scene, programs / "one")
    assert who(scene, old).exe == expected
    shutil.copy(sockets.PYTHON, programs / "new")
    os.replace(programs / "new", programs / "one")
    assert who(scene, old).exe == expected
    assert who(scene, scene.actor(python=str(programs / "one"))).exe == expected
    os.unlink(programs / "one")
    assert who(scene, old).exe == expected


def test_a_directory_above_that_is_renamed(scene, programs):
    """The program is what it was when it was first seen, as long as that is remembered."""
    actor = scene.actor(python=str(programs / "one"))
    first = exe(scene, programs / "one")
    assert who(scene, actor).exe == first
    os.rename(programs.parent, programs.parent.parent / "renamed")
    assert who(scene, actor).exe == first
    later = scene.actor(python=str(programs.parent.parent / "renamed" / "bin" / "one"))
    assert who(scene, later).exe == exe(scene, programs.parent.parent / "renamed" / "bin" / "one")


def test_another_policy(fresh):
    fresh.attach(fresh.policy())
    actor = fresh.actor("app")
    assert who(fresh, actor).app == 1
    apply = [trusted("first", "/nobody"), trusted("app", fresh.cgroup.path("app"))]
    fresh.a.ipsecbpf("policy", "apply", net.IFNAME, "-", input=json.dumps(document(*apply)))
    noted = who(fresh, actor)
    assert noted.app == 2
    (_, value), = images(fresh, actor)
    assert struct.unpack_from("=Q", value, WHO) == (noted.resolved,)


# ---- what is not believed --------------------------------------------------------------------------

@pytest.mark.parametrize("at", [0, 80, 88, WHO - 1, WHO, WHO + 8])
def test_an_answer_that_is_not_whole(scene, at):
    """As a reader finds it whose entry is given to another meanwhile."""
    actor = scene.actor()
    first = who(scene, actor)
    (key, value), = images(scene, actor)
    map_fd = bpf(BPF_MAP_GET_FD_BY_ID, struct.pack("=III", images_id(scene.a), 0, 0).ljust(32, b"\0"))
    spoilt = bytearray(value)
    spoilt[at] ^= 1
    try:
        raw = [sockets.ctypes.create_string_buffer(part) for part in (key, bytes(spoilt))]
        bpf(BPF_MAP_UPDATE_ELEM, struct.pack("=IIQQQ", map_fd, 0, *map(sockets.ctypes.addressof, raw), 0))
    finally:
        os.close(map_fd)
    again = who(scene, actor)
    assert (again.who, again.resolved) == (first.who, first.resolved)
    assert images(scene, actor) == [(key, value)]
