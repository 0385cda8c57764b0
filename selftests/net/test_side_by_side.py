# SPDX-License-Identifier: BSD-2-Clause
"""Tests in several processes: what is alone is alone, and a run that is ended leaves nothing."""
import glob
import os
import signal
import subprocess
import sys

import pytest

import topology as net

HELD = """
import os
import signal
import threading

def test_hold(pair):
    inodes = [host.inode for host in pair.hosts]
    with open(os.environ["HELD"] + "/new", "w") as file:
        print(pair.tag, *inodes, file=file)
    os.rename(os.environ["HELD"] + "/new", os.environ["HELD"] + f"/held-{os.getpid()}")
    threading.Event().wait()
"""
ALONE = """
import os
import threading
import pytest

@pytest.mark.parametrize("number", range(40))
def test_among_others(number):
    note("begins")
    threading.Event().wait(0.01)
    note("ends")

@pytest.mark.parametrize("number", range(4))
@pytest.mark.alone
def test_alone(number):
    note("alone begins")
    threading.Event().wait(0.05)
    note("alone ends")

def note(what):
    with open(os.environ["HELD"] + "/notes", "a") as file:
        file.write(what + "\\n")
"""


class Run:
    """Another pytest with our conftest on some tests, in a process group of its own."""

    def __init__(self, directory, source, *options):
        self.directory = str(directory)
        path = os.path.join(self.directory, "test_inner.py")
        with open(path, "w") as file:
            file.write(source)
        environment = {name: value for name, value in os.environ.items()
                       if not name.startswith("PYTEST")}
        self.process = subprocess.Popen(
                [sys.executable, "-B", "-m", "pytest", "-q", "-p", "no:cacheprovider",
                 "-p", "conftest", *options, path], start_new_session=True, text=True, stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.directory,
                env=environment | {"PYTHONPATH": net.HERE, "HELD": self.directory,
                                   "TMPDIR": self.directory})

    def held(self):
        return glob.glob(os.path.join(self.directory, "held-*"))

    def residue(self):
        """Of the hosts that were held."""
        left = []
        for path in self.held():
            with open(path) as file:
                tag, *inodes = file.read().split()
            left += [name for name in os.listdir("/run/netns") if name.startswith(tag + "-")]
            left += [name for root in (net.PIN_ROOT, net.RUN_ROOT) for name in net._listdir(root)
                     if any(f"@{inode}" in name for inode in inodes)]
            left += [f"process {pid}" for pid in net.processes_in(map(int, inodes))]
            left += glob.glob(os.path.join(self.directory, tag + "-*"))
        return left

    def wait(self):
        output, _ = self.process.communicate(timeout=60)
        return output


@pytest.fixture
def run(tmp_path):
    started = []

    def start(source, *options):
        started.append(Run(tmp_path, source, *options))
        return started[-1]
    yield start
    for each in started:
        if each.process.poll() is None:
            os.killpg(each.process.pid, signal.SIGKILL)
            each.process.wait()
        each.process.stdout.close()


ONE, TWO = (), ("-n", "2", "--max-worker-restart=0")


@pytest.mark.parametrize("options, kill, number", [
    (ONE, os.kill, signal.SIGTERM), (ONE, os.killpg, signal.SIGHUP),
    (TWO, os.kill, signal.SIGTERM), (TWO, os.killpg, signal.SIGTERM),
    (TWO, os.killpg, signal.SIGINT)])
def test_a_signal_ends_it_all(product, run, options, kill, number):
    """Whether it is for the process that was started, or, as from a terminal, for all at once."""
    held = run(HELD, *options)
    net.wait_until(held.held, "a test that holds", 30)
    assert held.residue()
    kill(held.process.pid, number)
    held.wait()
    assert held.process.returncode == pytest.ExitCode.INTERRUPTED
    assert held.residue() == []


def test_the_others_end_with_the_first(product, run):
    """Even if that is killed."""
    held = run(HELD, *TWO)
    net.wait_until(held.held, "a test that holds", 30)
    held.process.kill()
    net.wait_until(lambda: held.residue() == [], "the end of all", 30)


def test_alone_is_alone(run):
    done = run(ALONE, *TWO)
    assert "44 passed" in done.wait()
    with open(os.path.join(done.directory, "notes")) as file:
        notes = file.read().splitlines()
    running, together = 0, 0
    for number, note in enumerate(notes):
        if note == "alone begins":
            assert running == 0 and notes[number + 1] == "alone ends"
        running += {"begins": 1, "ends": -1}.get(note, 0)
        together = max(together, running)
    assert notes.count("alone begins") == 4 and together == 2
