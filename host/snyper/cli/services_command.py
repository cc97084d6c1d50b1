"""The command `snyper services`."""

from dataclasses import asdict

from snyper.cli import screens
from snyper.cli.commands import HubOption, Json, run
from snyper.cli.output import err, fail
from snyper.client import DEFAULT_HUB, ProtocolError, ServiceInfo, connect
from snyper.client.labels import natural
from snyper.shared.socket_protocol import ErrorCode
from snyper.system.process import EXIT_FAILED
from snyper.system.streams import print_json


def services(hub: HubOption = DEFAULT_HUB, as_json: Json = False) -> None:
    """List the services that the hub knows: what others serve, by its name."""

    async def ask() -> list[ServiceInfo]:
        async with connect(hub) as console:
            try:
                found = await console.services()
            except ProtocolError as error:
                if error.code != ErrorCode.UNKNOWN_TYPE:
                    raise
                fail(f"the hub at {hub} is older and lists no services: update it", EXIT_FAILED)
        return sorted(found, key=lambda service: natural(service.target_id))

    found = run(ask(), hub)
    if as_json:
        print_json([asdict(service) for service in found])
    elif found:
        screens.print_table(screens.services_table(found), "round trip", "serves")
    else:
        how = f'Server(…, name="lab1", hub="{hub}").run()'
        err.print(f"no service has registered with this hub yet: start one with {how}")
