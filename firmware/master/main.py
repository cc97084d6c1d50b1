"""What a hub board runs at power-up."""

import asyncio

from firmware.master.config import DEFAULTS
from firmware.master.server import Hub
from firmware.master.wifi import AccessPoint
from shared.address import parse_address
from shared.config import load
from shared.runtime import collect_garbage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


async def main(config: "dict[str, Any]") -> None:
    """Opens the access point and serves for ever. Raises OSError when the port is not to be had."""
    collect_garbage()  # what was needed to import
    AccessPoint(config["access_point"]).open()
    host, port = parse_address(config["listen"])
    hub = Hub(host, port, config["max_targets"], config["max_consoles"])
    await hub.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(load("config.json", DEFAULTS)))
