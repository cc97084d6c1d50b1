"""Serves a powermeter: `python server.py` here, then `client.py` and `readout.py` wherever this computer is
reached from.

The secret is in the variable SNYPER_SECRET. Without one only programs of this computer are served, unless an
address is given: `python server.py --address 192.168.1.10`.
"""

import argparse
import os

from powermeter import Powermeter
from snyper import Server

READS = ("identity", "range", "read_voltage")  # of anybody, also while somebody has a lease


def main() -> None:
    parser = argparse.ArgumentParser(description="Serve a powermeter.")
    parser.add_argument("--device", default="/dev/ttyACM0", help="its port; it is simulated (%(default)s)")
    parser.add_argument("--address", help="of this computer, to listen on (this computer alone)")
    parser.add_argument("--port", type=int, default=4440, help="to listen on (%(default)s)")
    arguments = parser.parse_args()
    Server(
        Powermeter(arguments.device),
        address=arguments.address,
        port=arguments.port,
        secret=os.environ.get("SNYPER_SECRET"),
        open_reads=READS,
    ).run()


if __name__ == "__main__":
    main()
