"""Calls what a line of JSON names, and answers with one, over a blocking socket: the leanest call, of which
nothing is checked. With a port.
"""

import json
import socket
import sys


def read_voltage(samples: int = 1) -> float:
    return samples / 4


_SERVED = {"read_voltage": read_voltage}
_RECEIVE_BYTES = 1 << 14

with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    connection, _ = listener.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while line := connection.recv(_RECEIVE_BYTES):
            call = json.loads(line)
            value = _SERVED[call["name"]](**call["arguments"])
            connection.sendall(json.dumps({"id": call["id"], "value": value}).encode() + b"\n")
