"""Measures once in each range: `python client.py --address 192.168.1.10`. The secret is in SNYPER_SECRET."""

import argparse
import os

import snyper
from powermeter import Powermeter


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure once in each range.")
    parser.add_argument("--address", default="localhost", help="of the server (%(default)s)")
    parser.add_argument("--port", type=int, default=4440, help="of the server (%(default)s)")
    arguments = parser.parse_args()
    pm = snyper.Client(
        Powermeter,
        address=arguments.address,
        port=arguments.port,
        secret=os.environ.get("SNYPER_SECRET"),
        timeout=10,
    )
    print(pm.identity)
    with snyper.lock(pm, lease=5, why="comparing the ranges"):  # nobody else sets it meanwhile
        before = pm.range
        for number, full_scale in enumerate(pm.RANGES_V, 1):
            pm.range = number
            print(f"range {number}, to {full_scale:.1f} V: {pm.read_voltage(samples=20):7.4f} V")
        pm.range = before
    try:
        pm.range = 9
    except ValueError as error:  # it comes from the server, as what it is there
        print(f"range 9: {error}")


if __name__ == "__main__":
    main()
