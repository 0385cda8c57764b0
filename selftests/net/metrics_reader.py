# SPDX-License-Identifier: BSD-2-Clause
"""How tests read metrics: by Prometheus' own parser, from standard output or over HTTP."""
import http.client
import re
import signal
import socket

from prometheus_client.parser import text_string_to_metric_families

import topology as net

PORT = 9119


class Scrape:
    """One text: every sample by name and labels, after the checks that hold for all of them."""

    def __init__(self, text):
        assert text.endswith("\n")
        self.samples = {}
        described = set(re.findall(r"^# HELP (\S+) \S", text, re.M))
        assert described == set(re.findall(r"^# TYPE (\S+) (?:counter|gauge)$", text, re.M))
        for family in text_string_to_metric_families(text):
            assert family.documentation and family.type in ("counter", "gauge")
            for sample in family.samples:
                assert sample.name in described and sample.name.startswith("ipsecbpf_")
                assert (family.type == "counter") == sample.name.endswith("_total"), sample.name
                key = sample.name, frozenset(sample.labels.items())
                assert key not in self.samples, f"{key} is told twice"
                self.samples[key] = sample.value

    def all(self, name, **labels):
        """Samples of a metric, as (labels, value), that have these labels."""
        return [(dict(found), value) for (metric, found), value in self.samples.items()
                if metric == "ipsecbpf_" + name and labels.items() <= dict(found).items()]

    def one(self, name, **labels):
        found = self.all(name, **labels)
        assert len(found) == 1, (name, labels, found)
        return found[0][1]


def scrape(host, *args):
    return Scrape(host.ipsecbpf("metrics", *args).stdout)


class Listener:
    def __init__(self, host, *args, **options):
        self.host = host
        self.process = host.spawn(net.IPSECBPF, "metrics", *args, **options)
        self.said = self.process.stdout.readline()
        assert "served at" in self.said, self.said + self.process.stdout.read()

    def connect(self, address="127.0.0.1", port=PORT):
        connection = http.client.HTTPConnection(address, port, timeout=20)
        connection.sock = self.host.socket(
            socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
        connection.sock.settimeout(20)
        connection.sock.connect((address, port))
        return connection

    def request(self, method="GET", path="/metrics", body=None, **where):
        connection = self.connect(**where)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            answer.text = answer.read().decode()
            return answer
        finally:
            connection.close()

    def scrape(self, **where):
        answer = self.request(**where)
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        return Scrape(answer.text)

    def stop(self, number=signal.SIGTERM):
        self.process.send_signal(number)
        assert self.process.wait(5) == 0
        assert self.process.stdout.read() == ""
