# SPDX-License-Identifier: BSD-2-Clause
"""Several pytest processes on one machine: who goes when, what they share, how they end.

pytest-xdist deals the work out (`-n`); without it, or without -n, everything happens in one process.
What hosts are called and where their pins are already tells processes apart: see topology.py.
"""
import contextlib
import fcntl
import os
import signal
import tempfile

import topology as net

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


# ---- turns ----------------------------------------------------------------------------------------

class Turns:
    """Tests run at once, except that one marked `alone` has the machine for itself.

    Two locks. Whoever wants to run passes the gate, and takes the road. A test for itself stays in
    the gate until the road is clear, so that those behind it cannot keep it waiting for ever.
    """

    def __init__(self, directory):
        self.gate, self.road = (os.path.join(directory, name) for name in ("gate", "road"))

    @contextlib.contextmanager
    def take(self, alone):
        with open(self.road, "a") as road:
            with open(self.gate, "a") as gate:
                fcntl.flock(gate, fcntl.LOCK_EX)
                fcntl.flock(road, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
            yield


class NoTurns:
    """There is one process only."""

    @staticmethod
    def take(_):
        return contextlib.nullcontext()


# ---- who does what --------------------------------------------------------------------------------

def keeps_hosts(path):
    """Whether the tests of a file share hosts, which every process would have to build anew."""
    with open(path) as file:
        return 'scope="module"' in file.read()


def scheduler(base, config, log):
    """xdist's, but a file is dealt out as one only if its tests share hosts, else test by test."""
    class Scheduling(base):
        files = {}

        def _split_scope(self, nodeid):
            name = nodeid.split("::")[0]
            if name not in self.files:
                self.files[name] = keeps_hosts(os.path.join(config.rootpath, name))
            return name if self.files[name] else nodeid
    return Scheduling(config, log)


def large_first(items):
    """Files that are dealt out as one, the longest first, and then the rest to fill the gaps."""
    sizes = {}
    for item in items:
        sizes[item.path] = sizes.get(item.path, 0) + 1
    kept = {path: keeps_hosts(path) for path in sizes}
    items.sort(key=lambda item: (not kept[item.path], -sizes[item.path] if kept[item.path] else 0))


# ---- the end --------------------------------------------------------------------------------------

class Ending:
    """SIGTERM and SIGHUP end pytest as SIGINT does: the test is interrupted, fixtures clean up.

    (SystemExit would not do: to pytest that is a test that failed, and it goes on with the next.)
    Further signals change nothing. What comes to the process that deals out goes on to the others.
    """

    def __init__(self):
        self.directory = None       # shared_directory(), in the process that deals out
        for number in SIGNALS:
            signal.signal(number, self._leave)

    def _leave(self, number, _):
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        for pid in filter(str.isdigit, os.listdir(self.directory) if self.directory else ()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGTERM)
        raise KeyboardInterrupt(signal.Signals(number).name)


def shared_directory():
    """For the locks, and a file of each process's number. Whoever deals out owns it."""
    return tempfile.mkdtemp(prefix=f"{net.PREFIX}-{os.getpid()}-0-turns-")


def sign_in(directory):
    """A process that tests are dealt out to. Returns its Turns."""
    open(os.path.join(directory, str(os.getpid())), "x").close()
    return Turns(directory)
