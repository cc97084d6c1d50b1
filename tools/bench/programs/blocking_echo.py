"""Sends back what it reads, over a blocking socket: the floor of a call. With a port."""

import socket
import sys

_RECEIVE_BYTES = 1 << 14

with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    connection, _ = listener.accept()
    with connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while data := connection.recv(_RECEIVE_BYTES):
            connection.sendall(data)
