# SPDX-License-Identifier: BSD-2-Clause
"""Files by sftp and by FTP under application policy: the two tables of the paper on application-aware
IPsec policy, measured anew. Imported by bench_app.

5000 files of 2 KB, and one of 100 MB, fetched with one login each, from and to memory. Rows take turns,
in order and then in reverse; medians, and medians of ratios within a round. What has arrived is compared
with what was there, and the SAs' counters with what the row's policy says.
"""
import os
import shutil
import statistics
import tempfile
import time

import app_sites as sites
import sockets
import topology as net

SMALL_OCTETS = 2048
MEMORY = "/dev/shm"
TIMEOUT = 300
SIZES = ("small", "large")
# Drops that TCP causes by itself when it is faster than the receiver.
CONGESTION = {"no_buffer", "host_port"}


class Row:
    """name: in the results. paper: seconds, small and large files. uses: protections that carry packets."""

    def __init__(self, name, site, client, paper, uses=()):
        self.name, self.site, self.client = name, site, client
        self.paper, self.uses = paper, set(uses)
        self.seconds = {size: [] for size in SIZES}
        self.drops = {}


def ftp(source, size):
    """wget: the whole command line, and what is typed. After one listing it has one control connection
    and asks for each file with PASV and RETR only; tnftp and curl ask for the size as well."""
    url = f"ftp://10.9.0.2/%2F{source[1:]}/"
    more = ["-r", "-nH", f"--cut-dirs={source.count('/') + 1}", url + "small/"] if size == "small" \
        else [url + "large"]
    return [sites.PROGRAMS["ftp", "a"], "-q", *more], ""


def sftp_with(*options, small="get small/*"):
    def client(source, size):
        wanted = small if size == "small" else "get large"
        return ["/usr/bin/sftp", "-q", "-b", "-", "-i", "/root/.ssh/bench",
                "-o", "UserKnownHostsFile=/root/.ssh/bench_known_hosts", *options,
                f"{sites.USER}@10.9.0.2"], f"cd {source}\n{wanted}\n"
    return client


sftp = sftp_with()
# AES-GCM is the fastest cipher it has here; requests as large as sftp-server takes, many under way.
sftp_best = sftp_with("-o", "Ciphers=aes128-gcm@openssh.com", "-o", "Compression=no", "-B", "261120",
                      "-R", "256", small="get -r small")

BASE, BEST = "sftp", "sftp best case"
SECURE, FAST = "ftp+secure", "ftp+fast"


def rows():
    return [Row(BASE, sites.Site, sftp, (20.945, 9.355)),
            Row("sftp+AH", sites.Ports, sftp, (21.776, 9.409), ["authentic"]),
            Row("sftp+application policy", sites.Fast, sftp, (22.493, 9.452), ["authentic"]),
            Row(BEST, sites.Site, sftp_best, (None, None)),
            Row("ftp", sites.Site, ftp, (4.838, 9.837)),
            Row("ftp+AH/ESP", sites.Ports, ftp, (6.133, 9.983), ["secret", "authentic"]),
            Row(FAST, sites.Fast, ftp, (11.909, 10.062), ["secret", "authentic"]),
            Row("ftp+ESP", sites.Everything, ftp, (7.383, 14.262), ["secret"]),
            Row(SECURE, sites.Secure, ftp, (13.131, 14.282), ["secret"])]


class Shelf:
    """The files, and where they are put, in memory."""

    def __init__(self, files, megabytes):
        self.files = files
        self.top = tempfile.mkdtemp(prefix=f"ipsecbpf-bench-{os.getpid()}-", dir=MEMORY)
        self.source, self.target = os.path.join(self.top, "source"), os.path.join(self.top, "target")
        os.makedirs(os.path.join(self.source, "small"))
        for number in range(files):
            self._write(f"small/file-{number:04}", os.urandom(SMALL_OCTETS))
        self._write("large", os.urandom(megabytes * 1000000))
        os.chmod(self.top, 0o755)

    def _write(self, name, octets):
        with open(os.path.join(self.source, name), "wb") as file:
            file.write(octets)

    def clear(self):
        shutil.rmtree(self.target, ignore_errors=True)
        os.mkdir(self.target)

    def check(self, row, size):
        """Everything has arrived as it was."""
        flat = os.path.join(self.target, "small")
        if size == "small":
            pair = os.path.join(self.source, "small"), flat if os.path.isdir(flat) else self.target
        else:
            pair = os.path.join(self.source, "large"), os.path.join(self.target, "large")
        done = net.run_command(["diff", "-rq", *pair], check=False)
        if done.returncode:
            raise net.Failure(f"{row.name}, {size}: {done.stdout[:500]}{done.stderr[:500]}")

    def close(self):
        shutil.rmtree(self.top, ignore_errors=True)


def fetch(row, site, size, shelf):
    """Seconds from the client's start to its end."""
    shelf.clear()
    argv, typed = row.client(shelf.source, size)
    protected, drops = site.protected(), site.drops()
    start = time.monotonic()
    site.a.run(*site.within(["sh", "-c", f'cd {shelf.target} && exec "$@"', "sh", *argv]), input=typed,
               timeout=TIMEOUT)
    seconds = time.monotonic() - start
    shelf.check(row, size)
    used = {name for name, packets in site.protected().items() if packets != protected[name]}
    if used != row.uses:
        raise net.Failure(f"{row.name}: protections {sorted(used)} have carried packets, not "
                          f"{sorted(row.uses)}")
    for reason, count in site.drops().items():
        if count != drops.get(reason, 0):
            row.drops[reason] = row.drops.get(reason, 0) + count - drops.get(reason, 0)
    row.seconds[size].append(seconds)
    return seconds


def run_rounds(table, pairs, rounds, shelf, say):
    for number in range(1, rounds + 1):
        for row in table if number % 2 else table[::-1]:
            for size in SIZES:
                fetch(row, pairs[row.site], size, shelf)
        say(f"round {number}/{rounds}: " + ", ".join(
            f"{row.name} {row.seconds['small'][-1]:.2f}/{row.seconds['large'][-1]:.2f}"
            for row in table))


def measure(rounds, files, megabytes, say):
    """The rows, measured."""
    table = rows()
    cgroup = sockets.Cgroup()
    shelf = Shelf(files, megabytes)
    try:
        pairs = {site: site(cgroup) for site in dict.fromkeys(row.site for row in table)}
        run_rounds(table, pairs, rounds, shelf, say)
    finally:
        net.close_all()
        cgroup.close()
        shelf.close()
    return table


# ---- figures -------------------------------------------------------------------------------------

def median(row, size):
    return statistics.median(row.seconds[size])


def ratio(table, name, base, size):
    """Median of the ratios within a round."""
    by_name = {row.name: row.seconds[size] for row in table}
    return statistics.median(x / y for x, y in zip(by_name[name], by_name[base]))


def paper_ratio(table, name, base, size):
    by_name = {row.name: row.paper[SIZES.index(size)] for row in table}
    return by_name[name] / by_name[base] if by_name[name] and by_name[base] else None


def void(table):
    return sorted({f"{row.name}: {reason}" for row in table for reason in row.drops
                   if reason not in CONGESTION})
