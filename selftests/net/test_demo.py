# SPDX-License-Identifier: BSD-2-Clause
"""make demo, in small: says OK, works again right after, leaves nothing behind, and says FAILED
when there is clear text on the wire."""
import os
import re
import stat
import subprocess

import pytest

import topology as net

DEMO = os.path.join(net.HERE, "..", "demo")
pytestmark = pytest.mark.alone      # what is on the machine is compared


def run_demo(build=net.BUILD):
    environment = dict(os.environ, B=build, DEMO_MB="16")
    return subprocess.run([DEMO], env=environment, text=True, capture_output=True, timeout=120,
                          stdin=subprocess.DEVNULL)


def machine():
    """What a run could leave behind outside its own names, hosts of runs that go on excepted."""
    live = [name for name in net._listdir("/run/netns") if owner_runs(name)]
    keys = [f"@{os.stat(net.netns_path(name)).st_ino}" for name in live
            if os.path.exists(net.netns_path(name))]
    return {path: sorted(name for name in net._listdir(path) if not owner_runs(name)
                         and not any(key in name for key in keys)) for path in
            ("/run/netns", "/dev/shm", net.PIN_ROOT, net.RUN_ROOT, net.STATE_ROOT)}


def owner_runs(name):
    match = re.match(rf"{net.PREFIX}-(\d+)-", name)
    return match and os.path.exists(f"/proc/{match[1]}")


def test_demo_twice(product):
    before = machine()
    for _ in range(2):
        done = run_demo()
        assert done.returncode == 0, done.stdout + done.stderr
        assert re.fullmatch(r"demo: OK: [1-9]\d+ ESP packets, 0 clear-text packets on the wire, "
                            r"\d+\.\d\d Gbit/s", done.stdout.splitlines()[-1])
    assert machine() == before


def test_demo_fails_on_clear_text(tmp_path):
    """With a product that does nothing, the same traffic is in the clear, and the demo says so."""
    if not os.access(net.WIRECOUNT, os.X_OK):
        pytest.fail(f"{net.WIRECOUNT} is missing: run make")
    fake = tmp_path / "ipsecbpf"
    fake.write_text("#!/bin/sh\ncase \"$*\" in *status*) echo '{\"attachments\":[{}]}' ;; esac\n")
    fake.chmod(fake.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "wirecount").symlink_to(net.WIRECOUNT)
    before = machine()
    done = run_demo(str(tmp_path))
    assert done.returncode == 1
    assert re.match(r"demo: FAILED: \d+ clear-text packets on the wire",
                    done.stdout.splitlines()[-1])
    assert machine() == before
