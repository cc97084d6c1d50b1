"""The routes of a gateway that is a client of a hub: how it stands, and who is there."""

from http import HTTPStatus

from snyper.client import ReconnectingClient
from snyper.gateway.app import Gateway
from snyper.gateway.exchange import Exchange, Refusal
from snyper.shared.session import SessionState
from snyper.shared.socket_protocol import ProtocolError


def add_hub_routes(gateway: Gateway, hub: ReconnectingClient, address: str) -> None:
    """Serve what the hub at `address` tells, for as long as `hub` is open."""
    routes = _HubRoutes(hub, address)
    gateway.add("GET", "/health", routes.health)
    gateway.add("GET", "/ready", routes.ready)


class _HubRoutes:
    def __init__(self, hub: ReconnectingClient, address: str) -> None:
        self._hub = hub
        self._address = address

    async def health(self, exchange: Exchange) -> None:
        """Answer that the gateway is here, and how it stands with its hub: at once, without asking it."""
        hub: dict[str, object] = {"address": self._address, "state": self._hub.state}
        if self._hub.last_error is not None:
            hub["detail"] = self._hub.last_error.message
        await exchange.answer_json({"status": "ok", "hub": hub})

    async def ready(self, exchange: Exchange) -> None:
        """Answer with the names of targets and services, if the hub tells them. Raises Refusal."""
        if self._hub.state != SessionState.CONNECTED:
            raise _away("there is no hub")
        try:
            targets, services = await self._hub.targets(), await self._hub.services()
        except ProtocolError as error:
            raise _away(error.message) from None
        await exchange.answer_json(
            {
                "status": "ok",
                "targets": [target.target_id for target in targets],
                "services": [service.target_id for service in services],
            }
        )


def _away(detail: str) -> Refusal:
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"retry-after": "1"})
