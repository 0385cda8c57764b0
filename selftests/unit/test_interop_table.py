# SPDX-License-Identifier: BSD-2-Clause
"""doc/interoperability.md is what tools/interop-table makes of the tests that there are, so no test
that it names is missing. Without privilege.
"""
import importlib.machinery
import importlib.util
import pathlib
import subprocess
import sys

import pytest

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools/interop-table"


@pytest.fixture(scope="module")
def tool():
    loader = importlib.machinery.SourceFileLoader("interop_table", str(TOOL))
    spec = importlib.util.spec_from_loader("interop_table", loader)
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def test_the_committed_table_is_up_to_date():
    done = subprocess.run([sys.executable, "-B", str(TOOL), "--check"], text=True,
                          capture_output=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("parameters, expected", [
    ("esp-aes128gcm16-tunnel-esn-in-ipv6-ipv4", ("esp", "aes128gcm16", "tunnel", ["4 in 6"])),
    ("aes128gcm16-esp-tunnel-6-in-4-esn", ("esp", "aes128gcm16", "tunnel", ["6 in 4"])),
    ("aes128-sha256-transport-noesn-ipv6", ("esp", "aes128-sha256", "transport", ["IPv6"])),
    ("3des-md5-tunnel-noesn-A-to-B-ipv4", ("esp", "3des-md5", "tunnel", ["IPv4"])),
    ("udp-null-sha256-tunnel-esn-ipv4", ("udp", "null-sha256", "tunnel", ["IPv4"])),
    ("aes128-sha256-udp-transport-ports-noesn",
     ("udp", "aes128-sha256", "transport", ("IPv4", "IPv6"))),
    ("ah-sha256-tunnel-esn-ipv4", ("ah", "sha256", "tunnel", ["IPv4"])),
    ("sha512-ah-transport-noesn", ("ah", "sha512", "transport", ("IPv4", "IPv6"))),
    ("aes256ctr-sha384-networks-esn", ("esp", "aes256ctr-sha384", "tunnel", ("IPv4", "IPv6"))),
    ("3des-sha1-in-ipv4", ("udp", "3des-sha1", "tunnel", ("IPv4", "6 in 4"))),
    ("aes128gcm16+sha256-esp-transport-in-ah-transport-esn", None),
    ("ipv4", None),
])
def test_what_a_tests_parameters_say(tool, parameters, expected):
    assert tool.configuration(parameters) == expected


def test_runs_of_labels_are_joined(tool):
    assert tool.spans(["S1", "S2", "S3", "X5", "X7", "X8"]) == "S1-S3 X5 X7-X8"
