# SPDX-License-Identifier: BSD-2-Clause
"""What application policy costs a process per connection and per datagram. Imported by bench_app.

Every arm has its own pair of hosts and its own cgroup; all are there during the whole run. One process
(app_loops.c) goes from arm to arm, in order and then in reverse, and makes connections and sends
datagrams in each: by loopback, where the hooks are all there is to pay, and over the wire, where
XDP and tc are on the way as well. Its peers, on either way, are sockets of no application.

Who a process is, the hooks find out component by component: so the program lies as deep in its file
system as /usr/sbin/NAME does, and its cgroup as /system.slice/NAME.service.
"""
import json
import os
import shutil
import statistics
import tempfile

import sockets
import topology as net

LOOPS = os.path.join(net.BUILD, "bench", "app_loops")
MEMORY = "/dev/shm"
WAYS = ("loopback", "wire")
SYSCTLS = {"net.ipv4.tcp_max_tw_buckets": 0}    # else tens of thousands of connections wait to end
EMPTY = "empty"


def others(count):
    """Applications that are somebody else's, told by everything that they can be told by."""
    kinds = (lambda i: {"cgroup": f"/bench.slice/{i // 64}/{i}"},
             lambda i: {"unit": f"bench-{i}.service"},
             lambda i: {"executable": f"/usr/libexec/bench-{i}", "user": i},
             lambda i: {"user": 100000 + i},
             lambda i: {"group": 100000 + i})
    for i in range(count):
        yield {"name": f"other-{i}", "match": kinds[i % len(kinds)](i), "networks": [
            {"remote": f"198.{18 + i % 2}.{i >> 8 & 255}.{i & 255}", "class": "untrusted"},
            {"remote": "any", "class": "trusted"}]}


def policy(applications, program):
    """The measuring program is in the middle of so many applications; 0: there are none."""
    listed = list(others(applications - 1)) if applications else []
    if applications:
        own = {"name": "measured", "match": {"executable": program}, "networks": [
            {"remote": "198.51.100.0/24", "class": "untrusted"},
            {"remote": "any", "class": "trusted"}]}
        listed.insert(len(listed) // 2, own)
    return net.policy([{"name": "all", "action": "bypass"}], applications=listed,
                      accept_risk=["executable-alone"])


class Arm:
    """applications: of the policy; None: nothing is attached."""

    def __init__(self, name, cgroup, program, applications=None):
        self.name, self.applications = name, applications
        self.cgroup = cgroup.add(name)
        self.hosts = net.Topology(middle=False)
        for host in self.hosts.hosts:
            for sysctl, value in SYSCTLS.items():
                host.sysctl(sysctl, value)
        if applications is not None:
            path = self.hosts.write("policy.json", policy(applications, program))
            self.hosts.a.ipsecbpf("attach", net.IFNAME, "--cgroup", self.cgroup, "--policy", path,
                                  timeout=120)

    def drops(self):
        return self.hosts.a.drops() if self.applications is not None else {}

    def arguments(self):
        return [self.name, net.netns_path(self.hosts.a.netns), net.netns_path(self.hosts.b.netns),
                self.cgroup]


def verify(arms, expected):
    """The packets on the wire were of the application that the measuring program is, and of no other."""
    for arm in arms:
        if not arm.applications:
            continue
        listed = arm.hosts.a.json("app", "list", net.IFNAME)["applications"]
        packets = {app["name"]: app["clear"]["packets"] for app in listed if app["clear"]["packets"]}
        if list(packets) != ["measured"] or packets["measured"] < expected:
            raise net.Failure(f"arm {arm.name}: packets of applications: {packets}, expected at least "
                              f"{expected} of \"measured\"")


def measure(rounds, connections, datagrams, many):
    """{arm: {way: {what: [ns of each round]}}}, {arm: drops}"""
    cgroup = sockets.Cgroup()
    directory = tempfile.mkdtemp(prefix=f"ipsecbpf-bench-{os.getpid()}-", dir=MEMORY)
    try:
        os.mkdir(os.path.join(directory, "sbin"))
        program = shutil.copy(LOOPS, os.path.join(directory, "sbin"))
        arms = [Arm("none", cgroup, program), Arm(EMPTY, cgroup, program),
                Arm("attached", cgroup, program, 0), Arm("1", cgroup, program, 1),
                Arm("10000", cgroup, program, many)]
        before = [arm.drops() for arm in arms]
        command = [program, rounds, connections, datagrams, arms[0].hosts.b.address(4), EMPTY]
        for arm in arms:
            command += arm.arguments()
        done = net.run_command(list(map(str, command)), timeout=900)
        verify(arms, rounds * (connections + datagrams))
        dropped = {arm.name: {reason: count - old.get(reason, 0)
                              for reason, count in arm.drops().items() if count != old.get(reason, 0)}
                   for arm, old in zip(arms, before)}
        return json.loads(done.stdout), dropped
    finally:
        net.close_all()
        cgroup.close()
        shutil.rmtree(directory, ignore_errors=True)


# ---- figures -------------------------------------------------------------------------------------

def microseconds(rounds, way, what):
    """{arm: median}"""
    return {arm: statistics.median(ways[way][what]) / 1000 for arm, ways in rounds.items()}


def above(rounds, way, what, arm, base="none"):
    """Paired differences, in microseconds: {"median", "min", "max"}"""
    pairs = zip(rounds[arm][way][what], rounds[base][way][what])
    values = [(x - y) / 1000 for x, y in pairs]
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}
