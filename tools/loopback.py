"""Ports of this computer alone."""

import random
import socket
from contextlib import suppress

HOST = "127.0.0.1"


def free_port() -> int:
    """Find a free port outside of the range for outgoing connections. Raises OSError."""
    for _ in range(1_000):
        port = random.SystemRandom().randrange(20_000, 30_000)
        with suppress(OSError), socket.create_server((HOST, port)):
            return port
    raise OSError(f"no port from 20000 to 29999 of {HOST} is free")
