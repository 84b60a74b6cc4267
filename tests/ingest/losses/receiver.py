"""Runs in a namespace: sockets that nobody reads before the end, and the ledger of losses before and after.

Arguments: ``address:port:receive buffer in bytes[:group]`` for each socket. Says ``ready``, waits for a line, drains the
sockets, and prints one JSON object.
"""

import dataclasses
import json
import socket
import sys

from ingest.collector import Collector
from tuner.host.host import open_host


def opened(word: str) -> socket.socket:
    address, port, buffer, *group = word.split(":")
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, int(buffer))
    made.bind((address, int(port)))
    if group:
        made.setsockopt(
            socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, socket.inet_aton(group[0]) + socket.inet_aton(address_of())
        )
    made.setblocking(False)
    return made


def address_of() -> str:
    return "10.81.0.2"


def drained(sockets: list[socket.socket]) -> int:
    count = 0
    for each in sockets:
        while True:
            try:
                each.recv(2048)
            except BlockingIOError:
                break
            count += 1
    return count


sockets = [opened(word) for word in sys.argv[1:]]
collector = Collector(open_host())
collector.tick()
print("ready", flush=True)
sys.stdin.readline()
interval = collector.tick()
whole = Collector(open_host()).tick()  # another one: every source is read at its first tick
print(
    json.dumps(
        {
            "received": drained(sockets),
            "interval_s": interval.interval_s,
            "interval": [dataclasses.asdict(row) for row in interval.losses],
            "whole": [dataclasses.asdict(row) for row in whole.losses],
        }
    )
)
