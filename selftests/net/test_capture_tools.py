# SPDX-License-Identifier: BSD-2-Clause
"""tshark, a third implementation, decrypts our ESP when it is given the SA."""
import shutil
import struct

import pytest

import topology as net
from esp_peer import Ether

# How Wireshark's esp_sa table calls our suites; 4.0 has no ChaCha20-Poly1305 and no ESN.
TSHARK = {
        "aes128gcm16": ("AES-GCM with 16 octet ICV [RFC4106]", "NULL"),
        "aes256gcm16": ("AES-GCM with 16 octet ICV [RFC4106]", "NULL"),
        "aes256-sha256": ("AES-CBC [RFC3602]", "HMAC-SHA-256-128 [RFC4868]"),
        "null-sha256": ("NULL", "HMAC-SHA-256-128 [RFC4868]"),
}


def uat_line(sa):
    """The SA as a line of tshark's table."""
    family = "IPv6" if ":" in sa["src"] else "IPv4"
    cipher, mac = TSHARK[sa["suite"]]
    fields = [family, sa["src"], sa["dst"], f"{sa['spi']:#010x}", cipher,
              "0x" + sa["key"] if "key" in sa else "", mac,
              "0x" + sa["auth_key"] if "auth_key" in sa else ""]
    return "uat:esp_sa:" + ",".join(f'"{field}"' for field in fields)


def write_pcap(path, frames):
    with open(path, "wb") as file:
        file.write(struct.pack("=IHHiIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 1))
        for number, frame in enumerate(frames):
            file.write(struct.pack("=IIII", number, 0, len(frame), len(frame)) + frame)


def decrypt(path, sas):
    """What tshark finds inside: one line per packet, source, destination and payload."""
    options = ["-o", "esp.enable_encryption_decode:TRUE",
               "-o", "esp.enable_authentication_check:TRUE"]
    for sa in sas:
        options += ["-o", uat_line(sa)]
    done = net.run_command(["tshark", "-r", path, *options, "-Y", "esp", "-T", "fields",
                            "-e", "esp.sequence", "-e", "data.data", "-e", "esp.icv_good",
                            "-e", "esp.icv_bad"])
    return done.stdout.splitlines()


@pytest.mark.skipif(not shutil.which("tshark"), reason="tshark is not installed")
@pytest.mark.parametrize("suite", TSHARK)
def test_tshark_decrypts_our_esp(product, lone, suite):
    host = lone.a
    sas = [net.new_sa(host.address(family), address, 0x2000 + family, suite, esn=False)
           for family, address in ((4, "10.9.0.2"), (6, "fd00:9::2"))]
    for sa in sas:
        host.neighbour(sa["dst"], "02:00:00:00:00:02")
    peer = {"peer": [sa["dst"] for sa in sas]}
    rule = {"name": "all", "action": "protect", "peer": "peer", "protection": "wire"}
    policy = net.policy([rule], peer, {"wire": net.protection_of(suite)})
    host.ipsecbpf("attach", net.IFNAME, "--policy", lone.write("policy.json", policy),
                  "--sa", lone.write("sa.json", net.sa_file(*sas), mode=0o600), "--fresh")
    capture = lone.capture()
    payload = b"read by tshark"
    for sa in sas:
        host.run("/usr/bin/python3", "-c", SEND, sa["dst"], payload.decode())
        capture.wait(lambda f, s=sa: net.kind(f) == "esp" and
                     (":" in s["dst"]) == (Ether(f).type == 0x86dd), f"ESP to {sa['dst']}")
    path = lone.path("capture.pcap")
    write_pcap(path, [f for f in capture.taken("a") if net.kind(f) == "esp"])
    found = [line.replace(":", "").split("\t") for line in decrypt(path, sas)]
    assert [row[1:] for row in found if row[1] == payload.hex()] == [[payload.hex(), "1", "0"]] * 2


SEND = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
socket.socket(family, socket.SOCK_DGRAM).sendto(sys.argv[2].encode(), (sys.argv[1], 7001))
"""
