# SPDX-License-Identifier: BSD-2-Clause
"""TCP bulk between two hosts, arm against arm in one run. Imported by bench_tcp and bench_presence.

Every arm has its own pair of hosts joined by a veth pair, all built alike and all present during the
whole run. Arms take turns, in order and then in reverse, as the machine's speed drifts; only ratios
within one round are compared: median, and smallest to largest.

ROUNDS (8; at least 7 for figures to be quoted), SECONDS (2: measured, after one that is not).
"""
import json
import os
import statistics
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "net"))
import topology as net  # noqa: E402

ROUNDS = int(os.environ.get("ROUNDS", "8"))
DURATION = int(os.environ.get("SECONDS", "2"))
# Drops that TCP causes by itself when it is faster than the receiver.
CONGESTION = {"no_buffer", "host_port"}


def say(text=""):
    print(text, flush=True)


class Arm:
    """Two hosts and the address at which iperf3 is reached on the second."""

    name = "plain"
    options = ()    # of the iperf3 client

    def __init__(self):
        self.hosts = net.Topology(middle=False)
        self.address = self.hosts.b.address(4)
        self.results = []
        self.setup()
        self.hosts.a.run("ping", "-c3", "-i0.2", "-W5", self.address)
        self.server = self.hosts.b.spawn("iperf3", "-s")
        net.wait_until(lambda: ":5201" in self.hosts.b.run("ss", "-ltn").stdout,
                       f"{self.name}: iperf3 listens")

    def setup(self):
        pass

    def drops(self):
        """Packets dropped so far by reason."""
        return {}

    def measure(self):
        """One run in Gbit/s, as received."""
        before = self.drops()
        done = self.hosts.a.run("iperf3", "-c", self.address, "-t", DURATION, "-O", 1, "-J",
                                *self.options, timeout=DURATION + 30)
        report = json.loads(done.stdout)
        after = self.drops()
        dropped = {reason: after[reason] - before.get(reason, 0) for reason in after
                   if after[reason] != before.get(reason, 0)}
        rate = report["end"]["sum_received"]["bits_per_second"] / 1e9
        retransmits = report["end"]["sum_sent"].get("retransmits", 0)
        self.results.append({"gbit_s": rate, "retransmits": retransmits, "drops": dropped})
        return rate


def measure_all(arms):
    for number in range(1, ROUNDS + 1):
        order = arms if number % 2 else arms[::-1]
        for arm in order:
            arm.measure()
        say(f"round {number}/{ROUNDS}: " + ", ".join(
                f"{arm.name} {arm.results[-1]['gbit_s']:.2f}" for arm in arms))


def spread(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def compare(arms, bars):
    """Ratios of paired runs. bars: (what is compared, with what, the least it should be or None)"""
    by_name = {arm.name: [run["gbit_s"] for run in arm.results] for arm in arms}
    rows = []
    for over, under, bar in bars:
        if over in by_name and under in by_name:
            ratios = [x / y for x, y in zip(by_name[over], by_name[under])]
            rows.append({"of": over, "to": under, "bar": bar, **spread(ratios)})
    return rows


def print_tables(arms, ratios):
    say(f"\n{'TCP bulk, Gbit/s':<36}{'median':>8}{'min':>8}{'max':>8}{'retransmits':>13}  drops")
    for arm in arms:
        s = spread([run["gbit_s"] for run in arm.results])
        drops = {}
        for run in arm.results:
            for reason, count in run["drops"].items():
                drops[reason] = drops.get(reason, 0) + count
        resent = sum(run["retransmits"] for run in arm.results)
        say(f"{arm.name:<36}{s['median']:>8.2f}{s['min']:>8.2f}{s['max']:>8.2f}{resent:>13}  "
            + (", ".join(f"{k} {v}" for k, v in sorted(drops.items())) or "none"))
    say(f"\n{'ratio, paired within a round':<36}{'median':>8}{'min':>8}{'max':>8}{'bar':>13}")
    for row in ratios:
        bar = "" if row["bar"] is None else f">= {row['bar']:g}"
        missed = row["bar"] is not None and row["median"] < row["bar"]
        say(f"{row['of'] + ' / ' + row['to']:<36}{row['median']:>8.2f}{row['min']:>8.2f}"
            f"{row['max']:>8.2f}{bar:>13}{'  missed' if missed else ''}")


def unexpected(arms):
    return sorted({reason for arm in arms for run in arm.results for reason in run["drops"]
                   if reason not in CONGESTION})


def write_result(arms, ratios, name, **context):
    """build/bench/NAME.json; names of drops that make the run void."""
    path, void = os.path.join(net.BUILD, "bench", f"{name}.json"), unexpected(arms)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        json.dump({"version": 1, "rounds": ROUNDS, "seconds": DURATION, **context,
                   "kernel": os.uname().release, "cores": os.cpu_count(),
                   "load_average": os.getloadavg(), "void": void,
                   "arms": {arm.name: arm.results for arm in arms}, "ratios": ratios},
                  file, indent=2)
        file.write("\n")
    say(f"\nwritten to {path}")
    return void


def run(kinds, bars, name, **context):
    """A whole benchmark. The exit code."""
    if os.geteuid() != 0:
        say("bench: network namespaces need root: run it with sudo")
        return 1
    net.exit_on_signals()
    net.sweep()
    try:
        arms = [kind() for kind in kinds]
        measure_all(arms)
    except (net.Failure, OSError) as error:
        say(f"bench: FAILED: {error}")
        return 1
    finally:
        net.close_all()
    ratios = compare(arms, bars)
    print_tables(arms, ratios)
    void = write_result(arms, ratios, name, **context)
    if void:
        say(f"bench: the run is void: unexpected drops ({', '.join(void)})")
        return 1
    return 0
