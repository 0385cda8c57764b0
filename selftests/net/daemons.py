# SPDX-License-Identifier: BSD-2-Clause
"""Unchanged daemons and clients on hosts of a Topology, from the commands of a document.

A host is furnished first: /etc, /home, /var/spool and the like become its own (overlays in its
mount namespace), so that configuration, users and mail are those of a host of its own and nothing
of it reaches the machine. Its programs run in cgroups below one of this run, as systemd would place them;
socket hooks are attached to that cgroup and to no other.

In the document a block says where its commands run:

        ```sh b                                         on host b, until they end
        ```sh b unit=vsftpd.service listens=21          by that unit; they stay, if the port opens
        ```sh a cgroup=x11                              in the cgroup /clients/x11
        ```sh a typed                                   on a terminal, at which the test types
"""
import copy
import os
import pty
import re
import select
import subprocess
import time

import topology as net
from sockets import Cgroup
from wire import Failure, wait_until

OWN = ("/etc", "/home", "/root", "/var/mail", "/var/spool", "/var/log", "/var/lib/postfix",
       "/var/lib/dovecot", "/var/cache")
RUN = ("ipsecbpf", "sshd", "vsftpd/empty", "dovecot", "lock")
FURNISH = """
set -e
own=$1
shift
mount -t tmpfs -o mode=755 ipsecbpf-test $own
for directory in "$@"; do
        [ -d $directory ] || continue
        mkdir -p $own/upper$directory $own/work$directory
        chown --reference=$directory $own/upper$directory
        chmod --reference=$directory $own/upper$directory
        mount -t overlay ipsecbpf-test $directory \
                -o lowerdir=$directory,upperdir=$own/upper$directory,workdir=$own/work$directory
done
install -d -m 700 /run/ipsecbpf
mkdir $own/run
for directory in RUN; do mkdir -p $own/run/$directory; done
mount --bind /run/ipsecbpf $own/run/ipsecbpf
mount --rbind $own/run /run
install -d -m 700 /etc/ipsecbpf
mkdir -p /etc/X11
: > /etc/resolv.conf
""".replace("RUN", " ".join(RUN))


def furnish(host):
    """Before the host's first attachment."""
    own = host.topology.path(f"own-{host.name}")
    os.mkdir(own)
    host.run("sh", "-c", FURNISH, "furnish", own, *OWN)


# ---- blocks of a document -----------------------------------------------------------------------

class Block:
    def __init__(self, words, commands):
        self.host, *more = words.split()
        self.commands = commands
        self.typed = "typed" in more
        named = dict(word.split("=", 1) for word in more if "=" in word)
        self.unit = named.get("unit")
        self.cgroup = named.get("cgroup")
        self.ports = [int(port) for port in named.get("listens", "").split(",") if port]

    def place(self):
        """Its cgroup, below that of the run."""
        if self.unit:
            return f"{self.host}.slice/system.slice/{self.unit}"
        below = f"clients/{self.cgroup}" if self.cgroup else "shell"
        return f"{self.host}.slice/{below}"


def without(block, program):
    """The same block without commands of that program."""
    copy_of = copy.copy(block)
    copy_of.commands = re.sub(rf"^{program} (.*\\\n)*.*\n", "", block.commands, flags=re.M)
    return copy_of


def read_document(path):
    """{heading: [Block]}, of the headings that have any."""
    chapters, heading = {}, None
    with open(path) as file:
        text = file.read()
    for match in re.finditer(r"^#+ (.*)$|^```sh (.*)\n((?:.*\n)*?)```$", text, re.M):
        title, words, commands = match.groups()
        if title:
            heading = title
        else:
            chapters.setdefault(heading, []).append(Block(words, commands))
    return chapters


class Stage:
    """A topology whose hosts a and b run blocks. directory: where commands are run."""

    def __init__(self, topology, directory):
        self.topology = topology
        self.directory = directory
        self.cgroup = Cgroup()
        self.daemons = []
        for host in topology.hosts:
            furnish(host)

    def command(self, block):
        """What runs it, in its cgroup from the first instruction on."""
        assert "attach" not in block.commands or "--cgroup" in block.commands, "see attach()"
        procs = os.path.join(self.cgroup.add(block.place()), "cgroup.procs")
        script = f"echo $$ > {procs}; PATH={net.BUILD}:$PATH:/usr/sbin:/sbin; HOME=/root; " \
                 f"export PATH HOME; umask 022; cd {self.directory}; {block.commands}"
        if block.ports:         # a unit's process, not the shell that starts it
            script = script.replace(block.commands, f"exec {block.commands}")
        return ["sh", "-e", "-c", script]

    def host(self, block):
        return getattr(self.topology, block.host)

    def run(self, block, **options):
        """What the block's commands say. A unit stays and is ended by end()."""
        if block.ports:
            return self.start(block)
        return self.host(block).run(*self.command(block), **options)

    def start(self, block):
        log = self.topology.path(f"{block.unit}-{block.host}.log")
        with open(log, "w") as file:
            process = self.host(block).spawn(*self.command(block), stdout=file)
        self.daemons.append((block, process))

        def listens():
            if process.poll() is not None:
                with open(log) as file:
                    raise Failure(f"{block.unit}: exit {process.returncode}: {file.read()[-2000:]}")
            return all(self.listening(block, port) for port in block.ports)
        wait_until(listens, f"{block.unit} on host {block.host} listens", 20)
        return process

    def listening(self, block, port):
        return self.host(block).run("ss", "-Hltn", f"sport = :{port}").stdout.strip()

    def end(self):
        """Ends the units: every process in their cgroups."""
        for block, process in reversed(self.daemons):
            directory = self.cgroup.add(block.place())

            def empty():
                with open(os.path.join(directory, "cgroup.procs")) as file:
                    members = [int(pid) for pid in file.read().split()]
                for pid in members:
                    self._kill(pid)
                return not members
            wait_until(empty, f"end of {block.unit}", 5)
            process.wait(5)
        self.daemons.clear()

    @staticmethod
    def _kill(pid):
        try:
            os.kill(pid, 9)
        except ProcessLookupError:
            pass

    def type(self, block, answers, timeout=20):
        """Runs it on a terminal; answers: (what the terminal shows, what is typed then).
        Everything it has shown, once it ends."""
        master, slave = pty.openpty()
        process = subprocess.Popen([*self.host(block).enter(), "setsid", "-c", *self.command(block)],
                                   stdin=slave, stdout=slave, stderr=slave)
        self.topology.processes.append(process)
        os.close(slave)
        try:
            return _converse(master, list(answers), time.monotonic() + timeout)
        finally:
            os.close(master)
            process.kill()
            process.wait()


def _converse(terminal, answers, end):
    shown, seen = "", 0
    while True:
        ready, _, _ = select.select([terminal], [], [], max(0, end - time.monotonic()))
        if not ready:
            raise Failure(f"nothing more is shown, awaited {answers[:1]}: {shown!r}")
        try:
            data = os.read(terminal, 4096)
        except OSError:         # everyone has closed the other side
            data = b""
        if not data:
            if answers:
                raise Failure(f"ended, awaited {answers[0]}: {shown!r}")
            return shown
        shown += data.decode(errors="replace")
        while answers and re.search(answers[0][0], shown[seen:]):
            os.write(terminal, answers[0][1].encode())
            seen = len(shown)
            answers.pop(0)
