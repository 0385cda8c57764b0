# SPDX-License-Identifier: BSD-2-Clause
"""A process that does what a test tells it, one line of Python after the other: see sockets.py.

Each line on standard input is a JSON string of Python, answered by a line of JSON: {"value": ...} of an
expression, {"error": ERRNO} if the kernel refused.
"""
import array
import json
import os
import socket
import sys


def hand_over(channel, *sockets):
    """Passes descriptors (SCM_RIGHTS)."""
    fds = array.array("i", [one.fileno() for one in sockets])
    channel.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])


def take_over(channel):
    """The descriptor that was passed, as a socket."""
    _, ancillary, _, _ = channel.recvmsg(1, socket.CMSG_SPACE(4))
    return socket.socket(fileno=array.array("i", ancillary[0][2])[0])


def obey(line, names):
    try:
        value = eval(line, names)       # pylint: disable=eval-used
    except SyntaxError:
        exec(line, names)               # pylint: disable=exec-used
        value = None
    return value if isinstance(value, (int, str, list, bool)) else None


def main():
    names = {"socket": socket, "os": os, "hand_over": hand_over, "take_over": take_over}
    for line in sys.stdin:
        try:
            answer = {"value": obey(json.loads(line), names)}
        except OSError as error:
            answer = {"error": error.errno}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
