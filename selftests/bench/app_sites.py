# SPDX-License-Identifier: BSD-2-Clause
"""Pairs of hosts with unchanged file servers and clients, each pair under a policy of its own. Imported
by app_paper.

On host b vsftpd and OpenSSH's sshd with sftp-server; from host a wget and OpenSSH's sftp fetch. Every
pair has its own cgroup: socket hooks are attached to that and to no other.
"""
import os

import topology as net
from daemons import furnish

USER, PASSWORD = "alice", "open-sesame-7301"
PORTS = {"ftp": 21, "ssh": 22}
DATA_PORTS = (50000, 59999)     # where a policy that names ports has to know them
ENCRYPTION, AUTHENTICATION = "aes128gcm16", "sha256"    # ESP; AH
SUITES = {"secret": ENCRYPTION, "authentic": AUTHENTICATION}
PROGRAMS = {("ftp", "a"): "/usr/bin/wget", ("ftp", "b"): "/usr/sbin/vsftpd",
            ("ssh", "a"): "/usr/bin/ssh", ("ssh", "b"): "/usr/sbin/sshd"}
SIDES = {"a": "remote_port", "b": "local_port"}   # on which side the server's port is

FTP_CONFIGURATION = """listen=YES
background=NO
local_enable=YES
"""
SSH_CONFIGURATION = """ListenAddress 0.0.0.0
HostKey /etc/ssh/bench_host_key
UsePAM no
PidFile none
Subsystem sftp /usr/lib/openssh/sftp-server
"""
SERVERS = {"ftp": ["/usr/sbin/vsftpd", "/etc/vsftpd-bench.conf"],
           "ssh": ["/usr/sbin/sshd", "-D", "-f", "/etc/ssh/bench_config"]}


class Site:
    """Two hosts that nothing is attached to."""

    ftp_more = ""   # of vsftpd's configuration

    def __init__(self, cgroup):
        self.hosts = net.Topology(middle=False)
        self.cgroup = cgroup.add(type(self).__name__.lower())
        self.a, self.b = self.hosts.a, self.hosts.b
        for host in self.hosts.hosts:
            furnish(host)
        self.make_user()
        self.attach()
        self.start()

    # ---- servers and clients

    def make_user(self):
        self.b.run("sh", "-e", "-c", f"useradd --create-home --shell /bin/sh {USER}; chpasswd",
                   input=f"{USER}:{PASSWORD}\n")
        self.b.run("sh", "-c", "ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/bench_host_key")
        self.a.run("sh", "-e", "-c", "mkdir -p -m 700 /root/.ssh; rm -f /root/.ssh/bench*; "
                   "ssh-keygen -q -t ed25519 -N '' -f /root/.ssh/bench")
        key = self.a.run("cat", "/root/.ssh/bench.pub").stdout
        self.b.run("sh", "-e", "-c", f"cd /home/{USER}; mkdir -m 700 .ssh; cat > .ssh/authorized_keys; "
                   f"chown -R {USER}: .ssh", input=key)
        self.a.run("sh", "-c", "umask 077; cat > /root/.netrc",
                   input=f"machine {self.b.address(4)} login {USER} password {PASSWORD}\n")
        host_key = self.b.run("cat", "/etc/ssh/bench_host_key.pub").stdout
        self.a.run("sh", "-c", "cat > /root/.ssh/bench_known_hosts",
                   input=f"{self.b.address(4)} {host_key}")
        for path, text in (("/etc/vsftpd-bench.conf", FTP_CONFIGURATION + self.ftp_more),
                           ("/etc/ssh/bench_config", SSH_CONFIGURATION)):
            self.b.run("sh", "-c", f"cat > {path}", input=text)

    def start(self):
        for name, argv in SERVERS.items():
            with open(self.hosts.path(name + ".log"), "w") as log:
                self.b.spawn(*self.within(argv), stdout=log)
        net.wait_until(lambda: len(self.b.run("ss", "-Hltn", *self.ports_filter()).stdout
                                   .splitlines()) >= len(PORTS), "vsftpd and sshd listen", 20)

    @staticmethod
    def ports_filter():
        return ["sport = :" + " or sport = :".join(map(str, PORTS.values()))]

    def within(self, argv):
        """The command in the cgroup, from its first instruction on."""
        return ["sh", "-c", f'echo $$ > {self.cgroup}/cgroup.procs && HOME=/root exec "$@"', "sh", *argv]

    # ---- protection

    def attach(self):
        pass

    def drops(self):
        return {}

    def protected(self):
        """Packets so far by protection, sent and received by host a."""
        return {}


class Protected(Site):
    """Both hosts have a policy that discards whatever it does not name."""

    protections = tuple(SUITES)

    def attach(self):
        sas = {"version": 1, "sas": []}
        for number, name in enumerate(self.protections):
            suite = SUITES[name]
            more = {"proto": "ah"} if suite in net.MACS else {}
            sas["sas"] += net.both_ways(self.a, self.b, 0x1000 * (number + 1), families=(4,),
                                        suite=suite, protection=name, **more)["sas"]
        path = self.hosts.write("sa.json", sas, mode=0o600)
        for host, other in ((self.a, self.b), (self.b, self.a)):
            document = net.policy(self.rules(host), {"peer": [other.address(4)]},
                                  {name: net.protection_of(SUITES[name]) for name in self.protections},
                                  **self.more(host, other))
            host.ipsecbpf("attach", net.IFNAME, "--cgroup", self.cgroup, "--sa", path, "--fresh",
                          "--policy", self.hosts.write(f"{host.name}.json", document))

    def rules(self, host):
        return []

    def more(self, host, other):
        return {}

    def drops(self):
        total = {}
        for host in self.hosts.hosts:
            for reason, count in host.drops().items():
                total[reason] = total.get(reason, 0) + count
        return total

    def protected(self):
        total = {name: 0 for name in self.protections}
        for sa in self.a.json("sa", "list", net.IFNAME)["sas"]:
            total[sa["protection"]] += sa["packets"]
        return total


def protect(name, protection, **selectors):
    return {"name": name, "action": "protect", "peer": "peer", "protection": protection, **selectors}


class Ports(Protected):
    """Rules of the host, by ports: vsftpd is told a range of ports that the rules can name."""

    ftp_more = "pasv_min_port={}\npasv_max_port={}\n".format(*DATA_PORTS)

    def rules(self, host):
        def service(name, protection, port):
            return protect(name, protection, protocol="tcp", **{SIDES[host.name]: port})
        return [service("ssh", "authentic", PORTS["ssh"]), service("ftp", "secret", PORTS["ftp"]),
                service("ftp-data", "authentic", "{}-{}".format(*DATA_PORTS))]


class Everything(Protected):
    """One rule of the host: all that goes to the other one is encrypted."""

    protections = ("secret",)

    def rules(self, host):
        return [protect("everything", "secret")]


class Applications(Protected):
    """Policy of the programs; the host itself allows nothing."""

    data = "authentic"

    def more(self, host, other):
        side = SIDES[host.name]
        items = {"ftp": [{"protocol": "tcp", side: PORTS["ftp"], "protection": "secret"},
                         {"protocol": "tcp", "protection": self.data}],
                 "ssh": [{"protocol": "tcp", "protection": "authentic"}]}
        return {"accept_risk": ["executable-alone"], "applications": [
            {"name": name, "match": {"executable": PROGRAMS[name, host.name]}, "default": "discard",
             "networks": [{"remote": other.address(4), "class": "protected", "protect": protects}]}
            for name, protects in items.items()]}


class Fast(Applications):
    """The paper's policy: FTP's control connection encrypted, data authenticated."""


class Secure(Applications):
    """The paper's policy: everything encrypted."""

    data = "secret"
