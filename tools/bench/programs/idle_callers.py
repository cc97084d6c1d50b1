"""So many clients of calls that have made one each, and then do nothing. With the port and the number; says a
line when all are there.
"""

import sys
from typing import Any

from snyper.services.client import Client
from snyper.system.process import raise_descriptor_limit

raise_descriptor_limit(int(sys.argv[2]))
clients: list[Any] = [Client(address="127.0.0.1", port=int(sys.argv[1])) for _ in range(int(sys.argv[2]))]
for client in clients:
    client.read_voltage()
print("idle", flush=True)
sys.stdin.read()
