"""Receives so many bytes, and sends them back once it has them all, over a blocking socket: the floor of an
array that goes there and back. With a port and the number.
"""

import socket
import sys

with socket.create_server(("127.0.0.1", int(sys.argv[1]))) as listener:
    connection, _ = listener.accept()
    with connection:
        while True:
            store = bytearray(int(sys.argv[2]))
            rest = memoryview(store)
            while rest:
                count = connection.recv_into(rest)
                if not count:
                    sys.exit()
                rest = rest[count:]
            connection.sendall(store)
