"""A hub that pings all of its targets for each round. Argument: how many targets it waits for."""

import asyncio
import sys

from snyper.firmware.master.access import set_limits
from snyper.firmware.master.server import Hub
from snyper.hub.limits import LIMITS
from snyper.shared.socket_protocol import ALL_TARGETS, MessageType
from tools.bench.hubs import until_connected
from tools.bench.programs.cpu_rounds import say, serve_rounds

COMMAND_TIMEOUT_MS = 10_000


async def main(count: int) -> None:
    hub = Hub("127.0.0.1", 0, count, 1)
    set_limits(
        hub, {name: LIMITS[name].default for name in ("unregistered", "strangers_per_s", "per_address")}
    )
    await hub.start()

    async def command() -> None:
        peers = hub.router.registry.select(ALL_TARGETS)
        results = await hub.router.send(MessageType.PING, peers, None, COMMAND_TIMEOUT_MS).results()
        assert sum(result.ok for result in results) == count

    say(hub.port)
    await until_connected(hub, count)
    await serve_rounds(command)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
