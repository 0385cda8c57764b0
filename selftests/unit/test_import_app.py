# SPDX-License-Identifier: BSD-2-Clause
"""`ipsecbpf policy import-app`: the paper's figures become the policies beside them. The first line of each
example is the command that it is imported by. Needs no root."""
import json
import os
import shlex
import subprocess
from pathlib import Path

import pytest

TREE = Path(__file__).resolve().parents[2]
PROGRAM = os.environ.get("IPSECBPF", str(TREE / "build" / "ipsecbpf"))
EXAMPLES = TREE / "schemas" / "examples" / "import"
SOURCES = sorted(EXAMPLES.glob("*.app"))
ITEM = "localport=any remoteport=any encryption mandatory;"


def run(*args, text=None):
    return subprocess.run([PROGRAM, *args], capture_output=True, text=True, timeout=60, input=text)


def import_text(text, *options):
    return run("policy", "import-app", "-", *options, text=text)


def command_of(source):
    words = shlex.split(source.read_text().partition("\n")[0].removeprefix("# ipsecbpf"))
    return [str(source) if word == "FILE" else word for word in words]


def test_there_are_all_figures():
    names = {source.stem for source in SOURCES}
    assert {"figure3", "figure4-client", "figure4-server", "figure7", "figure9-secure",
            "figure9-fast", "every-form"} <= names


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_example(source, tmp_path):
    result = run(*command_of(source))
    assert result.returncode == 0, result.stderr
    assert result.stdout == source.with_suffix(".json").read_text()
    policy = tmp_path / "policy.json"
    policy.write_text(result.stdout)
    check = run("policy", "check", str(policy))
    assert check.returncode == 0, check.stderr


def test_fast_and_secure_differ_in_the_data_connection_alone():
    """What the paper says of its Figure 9, of what we make of it."""
    def items(name):
        document = json.loads((EXAMPLES / f"{name}.json").read_text())
        return {application["name"]: application["networks"][0]["protect"]
                for application in document["applications"]}
    for application, port in (("vsftpd", "local_port"), ("ftp", "remote_port")):
        control, data = items("figure9-fast")[application]
        assert control[port] == 21 and control["protection"] == "encryption"
        assert data["protection"] == "authentication" and "local_port" not in data
        assert [item["protection"] for item in items("figure9-secure")[application]] == ["encryption"]


def test_programs_of_this_host_are_found():
    result = import_text("application sh { network 0.0.0.0/0 trusted; }")
    assert result.returncode == 0
    path = json.loads(result.stdout)["applications"][0]["match"]["executable"]
    assert path.startswith("/") and path.endswith("/sh") and os.access(path, os.X_OK)


def test_scripts_are_warned_of(tmp_path):
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    result = import_text(f"application {script} {{ network 0.0.0.0/0 trusted; }}")
    assert result.returncode == 0
    assert "is a script" in result.stderr and '"unit" or "cgroup"' in result.stderr


@pytest.mark.parametrize("network, said", [
    ("10.0.0.0/8 protected P", "no peer is in the protected network 10.0.0.0/8: what must be"),
    ("www.example.org protected P", "a host name is none: www.example.org is protected only"),
    ("10.0.0.0/8 trusted", 'no network is protected by "P"'),
    ("10.0.0.0/8 trusted; network 10.1.0.0/16 untrusted", "the one at line 1 leaves nothing to this"),
])
def test_warnings(network, said):
    result = import_text("application /bin/true {network " + network + "; protection P {" + ITEM + "}}")
    assert result.returncode == 0
    assert said in result.stderr


@pytest.mark.parametrize("options, said", [
    (["--peer", "x"], "a name and an address are expected"),
    (["--peer", "x=10.0.0.0/8"], "a peer has single addresses"),
    (["--peer", "x=10.0.0.1", "--peer", "y=10.0.0.1"], "the address is a peer's already"),
    (["--peer", "x=nonsense"], "--peer x=nonsense"),
    (["--program", "x=relative"], "a name and an absolute path are expected"),
])
def test_options_that_say_nothing(options, said):
    result = import_text("application /bin/true { network 0.0.0.0/0 trusted; }", *options)
    assert result.returncode == 1 and result.stdout == ""
    assert said in result.stderr
