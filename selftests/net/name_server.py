#!/usr/bin/python3
# SPDX-License-Identifier: BSD-2-Clause
"""A name server for tests, on 127.0.0.1 port 53 of its network namespace, by UDP and TCP.

usage: name_server.py ZONE

ZONE is a JSON file, read again for each question: {"www.example.org": {"A": ["10.0.0.1"], "AAAA": [],
"ttl": 5, "ad": false, "A ad" or "AAAA ad": false, "cname": "other.example.org", "A mode" or "AAAA mode": "servfail" | "silent" |
"long record" | "long count" | "short"}}. What it does not list does not exist. Prints "ready".
"""
import ipaddress
import json
import select
import socket
import struct
import sys
import threading

TYPES = {1: "A", 28: "AAAA"}
FORMAT_AD, FORMAT_TC = 0x20, 0x0200


def encode(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def question_of(query):
    labels, at = [], 12
    while query[at]:
        labels.append(query[at + 1:at + 1 + query[at]].decode())
        at += 1 + query[at]
    return ".".join(labels).lower(), struct.unpack(">H", query[at + 1:at + 3])[0], query[12:at + 5]


def record(name, kind, ttl, data, length=None):
    return encode(name) + struct.pack(">HHIH", kind, 1, ttl, len(data) if length is None else length) + data


def answers(zone, name, kind):
    entry = zone[name]
    ttl = entry.get("ttl", 5)
    if "cname" in entry:
        return [record(name, 5, ttl, encode(entry["cname"]))] + answers(zone, entry["cname"], kind)
    length = 4000 if entry.get(f"{TYPES.get(kind)} mode") == "long record" else None
    return [record(name, kind, ttl, ipaddress.ip_address(text).packed, length)
            for text in entry.get(TYPES.get(kind, ""), [])]


def reply_to(zone, query, room):
    name, kind, question = question_of(query)
    flags, mode = 0x8180, None
    found = []
    if name not in zone:
        flags |= 3
    else:
        mode = zone[name].get(f"{TYPES.get(kind)} mode")
        found = answers(zone, name, kind)
        if zone[name].get(f"{TYPES.get(kind)} ad", zone[name].get("ad")) and query[3] & FORMAT_AD:
            flags |= FORMAT_AD
    if mode == "silent":
        return None
    if mode == "servfail":
        flags, found = 0x8182, []
    count = len(found) + (50 if mode == "long count" else 0)
    whole = query[:2] + struct.pack(">HHHHH", flags, 1, count, 0, 0) + question + b"".join(found)
    if mode == "short":
        return whole[:len(whole) - 3]
    if len(whole) > room:
        return query[:2] + struct.pack(">HHHHH", flags | FORMAT_TC, 1, 0, 0, 0) + question
    return whole


def read_zone():
    with open(sys.argv[1], encoding="utf-8") as source:
        return json.load(source)


def serve_connection(connection):
    with connection, connection.makefile("rb") as stream:
        while len(head := stream.read(2)) == 2:
            reply = reply_to(read_zone(), stream.read(struct.unpack(">H", head)[0]), 65535)
            if reply is not None:
                connection.sendall(struct.pack(">H", len(reply)) + reply)


def main():
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for listening in (udp, tcp):
        listening.bind(("127.0.0.1", 53))
    tcp.listen()
    print("ready", flush=True)
    while True:
        readable = select.select([udp, tcp], [], [])[0]
        if udp in readable:
            query, peer = udp.recvfrom(4096)
            reply = reply_to(read_zone(), query, 512)
            if reply is not None:
                udp.sendto(reply, peer)
        if tcp in readable:
            threading.Thread(target=serve_connection, args=(tcp.accept()[0],), daemon=True).start()


main()
