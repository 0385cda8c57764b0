# SPDX-License-Identifier: BSD-2-Clause
"""tshark, a third implementation, decrypts our ESP when it is given the SA."""
import re
import shutil
import struct
from pathlib import Path

import pytest

import topology as net
from esp_peer import Ether

# Of each cipher and each MAC at least one; Wireshark does not check AES-CMAC.
SUITES = ["aes128gcm16", "aes192gcm12", "aes256gcm8", "aes256gcm16", "aes128-sha256",
          "aes256-sha384", "aes128ctr-sha256", "null-sha256", "null-sha512", "3des-sha1",
          "aes192-md5", "aes128-aescmac"]
pytestmark = pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed")


def write_pcap(path, frames):
    with open(path, "wb") as file:
        file.write(struct.pack("=IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for number, frame in enumerate(frames):
            file.write(struct.pack("=IIII", number, 0, len(frame), len(frame)) + frame)


def export(host, lone, *sas):
    """The SAs as `sa export` writes them: a Wireshark configuration, and the file's lines."""
    name = lone.write("export.json", net.sa_file(*sas), mode=0o600)
    folder = Path(lone.path("wireshark"))
    folder.mkdir()
    host.ipsecbpf("sa", "export", name, "--wireshark", "-o", str(folder / "esp_sa"))
    assert (folder / "esp_sa").stat().st_mode & 0o777 == 0o600
    return folder.parent, (folder / "esp_sa").read_text().splitlines()


def decrypt(path, configuration):
    """What tshark finds inside: sequence number, payload, and whether the ICV is right or wrong.
    And what it complains about."""
    done = net.run_command(["env", f"XDG_CONFIG_HOME={configuration}", "tshark", "-r", path,
                            "-o", "esp.enable_encryption_decode:TRUE",
                            "-o", "esp.enable_authentication_check:TRUE", "-Y", "esp",
                            "-T", "fields", "-e", "esp.sequence", "-e", "data.data",
                            "-e", "esp.icv_good", "-e", "esp.icv_bad"])
    return [line.replace(":", "").split("\t") for line in done.stdout.splitlines()], done.stderr


def capture_esp(lone, suite, mode, esn):
    """The SAs to a peer in both families, and a capture of a datagram in each."""
    host = lone.a
    sas = [net.new_sa(host.address(family), address, 0x2000 + family, suite, esn=esn, mode=mode)
           for family, address in ((4, "10.9.0.2"), (6, "fd00:9::2"))]
    for sa in sas:
        host.neighbour(sa["dst"], "02:00:00:00:00:02")
    peer = {"peer": [sa["dst"] for sa in sas]}
    rule = {"name": "all", "action": "protect", "peer": "peer", "protection": "wire",
            "remote": peer["peer"]}
    policy = net.policy([rule], peer, {"wire": net.protection_of(suite, mode)})
    host.ipsecbpf("attach", net.IFNAME, "--policy", lone.write("policy.json", policy),
                  "--sa", lone.write("sa.json", net.sa_file(*sas), mode=0o600), "--fresh")
    capture = lone.capture()
    for sa in sas:
        host.run("/usr/bin/python3", "-c", SEND, sa["dst"], PAYLOAD.decode())
        capture.wait(lambda f, s=sa: net.kind(f) == "esp" and
                     (":" in s["dst"]) == (Ether(f).type == 0x86dd), f"ESP to {sa['dst']}")
    path = lone.path("capture.pcap")
    write_pcap(path, [f for f in capture.taken("a") if net.kind(f) == "esp"])
    return sas, path


@pytest.mark.parametrize("suite, mode, esn", [(suite, "transport", False) for suite in SUITES] +
                         [("aes128gcm16", "tunnel", False), ("aes128-sha256", "tunnel", False),
                          ("aes128gcm16", "transport", True), ("null-sha256", "tunnel", True)])
def test_tshark_decrypts_our_esp(product, lone, suite, mode, esn):
    sas, path = capture_esp(lone, suite, mode, esn)
    configuration, lines = export(lone.a, lone, *sas)
    rows = [line for line in lines if not line.startswith("#")]
    assert len(rows) == 2 and all(row.endswith(',"64-bit","0"') == esn for row in rows)
    if suite.endswith("cmac"):
        verdict = ["0", "0"]
        assert sum("ICV is not checked" in line for line in lines) == 2
    elif esn and not knows_esn():
        verdict = ["0", "1"]
    else:
        verdict = ["1", "0"]
    found, said = decrypt(path, configuration)
    assert [row[1:] for row in found if row[1] == PAYLOAD.hex()] == \
            [[PAYLOAD.hex(), *verdict]] * 2
    assert "Error loading table" not in said


def knows_esn():
    """Wireshark has columns for 64-bit sequence numbers since 4.4."""
    words = net.run_command(["tshark", "--version"]).stdout.split()
    version = next(word for word in words if re.match(r"\d+\.\d+", word))
    return tuple(int(part) for part in version.split(".")[:2]) >= (4, 4)


def test_tshark_decrypts_chacha20_if_it_knows_it(product, lone):
    sas, path = capture_esp(lone, "chacha20poly1305", "transport", False)
    configuration, lines = export(lone.a, lone, *sas)
    assert all(line.startswith("#") for line in lines)
    assert "Error loading table" not in decrypt(path, configuration)[1]
    (configuration / "wireshark" / "esp_sa").write_text(
            "".join(line[1:] + "\n" for line in lines if line.startswith('#"')))
    found, said = decrypt(path, configuration)
    if "invalid value: ChaCha20 with Poly1305 [RFC7634]" in said:
        pytest.skip("this tshark does not know ChaCha20-Poly1305")
    assert [row[1:] for row in found if row[1] == PAYLOAD.hex()] == [[PAYLOAD.hex(), "1", "0"]] * 2


def test_what_wireshark_cannot_decrypt_is_named(product, lone):
    host = lone.a
    gmac = net.new_sa("10.9.0.1", "10.9.0.2", 0x2001, "aes128gmac")
    name = lone.write("sa.json", net.sa_file(gmac), mode=0o600)
    refused = host.ipsecbpf("sa", "export", name, "--wireshark", check=False)
    assert refused.returncode == 1 and "no SA of the file" in refused.stderr and not refused.stdout
    assert "sas[0], aes128gmac: not exported" in refused.stderr
    ah = {"src": "10.9.0.1", "dst": "10.9.0.2", "spi": 0x2003, "proto": "ah", "suite": "sha256",
          "auth_key": "5a" * 32, "protection": "wire"}
    _, lines = export(host, lone, gmac, net.new_sa("10.9.0.1", "10.9.0.2", 0x2002), ah)
    assert [line for line in lines if "not exported" in line] == \
            ["# sas[0], aes128gmac: not exported: Wireshark cannot decrypt this suite.",
             "# sas[2], sha256: not exported: Wireshark checks no AH."]
    assert len([line for line in lines if not line.startswith("#")]) == 1
    assert gmac["key"] not in "".join(lines) and ah["auth_key"] not in "".join(lines)


PAYLOAD = b"read by tshark"

SEND = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
socket.socket(family, socket.SOCK_DGRAM).sendto(sys.argv[2].encode(), (sys.argv[1], 7001))
"""
