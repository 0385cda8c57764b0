# SPDX-License-Identifier: BSD-2-Clause
"""What hosts say to each other, and what of it went wrong."""
import json
import socket
import threading

import topology as net

BULK = 2_000_000
DATAGRAMS = 250
KINDS = {4: socket.AF_INET, 6: socket.AF_INET6}


def dropped(topology):
    """What the hosts have dropped, by reason."""
    return {host.name: {reason: count for reason, count in host.drops().items() if count}
            for host in topology.hosts if host.attached()}


def ping(host, address, size=56, *options):
    return host.run("ping", "-c", 1, "-W", 0.5, "-s", size, *options, address, check=False)


def datagrams(a, b, family, count=DATAGRAMS, octets=4000):
    """UDP datagrams that need fragments; how many of how many were lost on their way. Those that
    arrived, but iperf3 was too slow for, were not; it misses them unless they are the last."""
    missed = unread(b)
    server = b.spawn("iperf3", "-s", "-1", "-p", 5300, "--forceflush")
    for line in server.stdout:
        if "listening" in line:
            break
    done = a.run("iperf3", "-u", "-l", octets, "-b", "16M", "-n", count * octets, "-p", 5300,
                 "-J", "-c", b.address(family))
    server.wait(10)
    total = json.loads(done.stdout)["end"]["sum"]
    return max(0, total["lost_packets"] - (unread(b) - missed)), total["packets"]


def unread(host):
    """Datagrams that a host dropped as the socket was full."""
    found = {}
    for name in ("snmp", "snmp6"):
        lines = host.run("cat", f"/proc/net/{name}").stdout.splitlines()
        if name == "snmp6":
            found.update(line.split() for line in lines)
            continue
        for names, values in zip(lines[::2], lines[1::2]):
            kind = names.split(":")[0]
            found.update((kind + key, value) for key, value in zip(names.split()[1:],
                                                                  values.split()[1:]))
    return int(found["UdpRcvbufErrors"]) + int(found["Udp6RcvbufErrors"])


def transfer(a, b, family, octets=BULK):
    """Octets that a TCP connection from a to b delivers."""
    taken = []
    with b.socket(KINDS[family], socket.SOCK_STREAM) as listener:
        listener.bind((b.address(family), 5301))
        listener.listen()
        listener.settimeout(20)

        def take():
            connection, _ = listener.accept()
            with connection:
                connection.settimeout(20)
                while data := connection.recv(1 << 20):
                    taken.append(len(data))
        thread = threading.Thread(target=take)
        thread.start()
        with a.socket(KINDS[family], socket.SOCK_STREAM) as sender:
            sender.settimeout(20)
            sender.connect((b.address(family), 5301))
            sender.sendall(bytes(octets))
        thread.join(30)
    return sum(taken)


def protocol(frame):
    """("ip", 50) and the like; None for ARP and ND."""
    if net.kind(frame) in ("arp", "nd"):
        return None
    if frame[12:14] == b"\x08\x00":
        return "ip", frame[23]
    if frame[12:14] == b"\x86\xdd":
        return "ip6", frame[54] if frame[20] == 44 else frame[20]
    return "other", 0


def is_error(frame):
    """The router's own packet-too-big messages."""
    return (frame[12:14] == b"\x08\x00" and frame[23] == 1 and frame[34] == 3) or \
        (frame[12:14] == b"\x86\xdd" and frame[20] == 58 and frame[54] in (1, 2, 3))


def clear(capture, wire_protocol):
    """Frames on the wire between the hosts that are not of the protocol that protects all."""
    ours = {("ip", wire_protocol), ("ip6", wire_protocol)}
    seen = []
    for frame in capture.taken():
        proto = protocol(frame)
        if proto and proto not in ours and not is_error(frame):
            seen.append(frame.hex()[:160])
    return seen
