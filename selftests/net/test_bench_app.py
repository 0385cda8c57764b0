# SPDX-License-Identifier: BSD-2-Clause
"""The benchmark of application policy with little of everything: that it runs, uses the SAs that each row
names (it checks that itself), leaves nothing behind and writes what its readers look for. No times."""
import json
import os
import re
import subprocess
import sys

import sockets
import topology as net

BENCH = os.path.join(net.HERE, "..", "bench", "bench_app")
ARMS = {"none", "empty", "1", "10000"}
ROWS = ["sftp", "sftp+AH", "sftp+application policy", "sftp best case", "ftp", "ftp+AH/ESP", "ftp+fast",
        "ftp+ESP", "ftp+secure"]


def namespaces():
    done = net.run_command(["ip", "netns", "list"])
    return [line.split()[0] for line in done.stdout.splitlines()]


def test_quick_run(tmp_path):
    """Every documented key, with a number in it."""
    bench = subprocess.Popen([sys.executable, "-B", BENCH], stdout=subprocess.PIPE, text=True,
                             stderr=subprocess.STDOUT, env={**os.environ, "B": net.BUILD, "QUICK": "1",
                                                            "BENCH_OUT": str(tmp_path)})
    said, _ = bench.communicate(timeout=300)
    assert bench.returncode == 0, said[-3000:]

    result = json.loads((tmp_path / "app-quick.json").read_text())
    assert set(result["connect_us"]) == set(result["sendto_us"]) == ARMS
    assert all(value > 0 for key in ("connect_us", "sendto_us") for value in result[key].values())
    assert result["loopback_connect_us"] == result["connect_us"]["none"]
    assert list(result["paper"]) == ROWS
    assert all(row["small_s"] > 0 and row["large_s"] > 0 for row in result["paper"].values())
    assert {bar["id"] for bar in result["bars"]} == {"P7", "P10"}
    assert result["quick"] and result["void"] == []
    assert re.search(r"<svg", (tmp_path / "app-quick.svg").read_text())

    ours = re.compile(rf"{net.PREFIX}-{bench.pid}-")
    assert not [name for name in namespaces() if ours.match(name)]
    assert not [name for name in os.listdir(sockets.cgroup_root()) if f"-{bench.pid}-" in name]
    assert not [name for name in os.listdir("/dev/shm") if name.startswith(f"ipsecbpf-bench-{bench.pid}-")]
