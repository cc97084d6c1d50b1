"""Serves two functions, one that measures and one that gives back what it gets. With a port, and the secret
or nothing.
"""

import sys
from typing import Any

from snyper.services.server import Server
from snyper.system.process import raise_descriptor_limit


def read_voltage(samples: int = 1) -> float:
    return samples / 4


def same(value: Any) -> Any:
    return value


raise_descriptor_limit(1_000)
Server(read_voltage, same, address="127.0.0.1", port=int(sys.argv[1]), secret=sys.argv[2] or None).run()
