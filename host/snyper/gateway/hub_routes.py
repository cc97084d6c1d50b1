"""The face of a hub, whose client the gateway is: how it stands, who is there, pushes to who receives."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path

from snyper.client import ReconnectingClient
from snyper.client.pushing import push_data, push_file
from snyper.device.inbox.limits import Limits
from snyper.device.serving.exchange import Exchange, Refusal
from snyper.device.serving.forms import OTHER_BYTES, FileWriter, read_form
from snyper.device.serving.requests import check_room, idempotency_key, parse_object
from snyper.device.serving.resumable_routes import refusing
from snyper.gateway.app import Gateway
from snyper.offload.spool import Spool
from snyper.shared.session import SessionState
from snyper.shared.socket_protocol import ErrorCode, ProtocolError
from snyper.system.temporary import temporary_folder

# A push may be held so long by a hub or a device that is away, of the 30 s that the document's clients wait.
_STALL_MS = 20_000
_MAX_DATA_BYTES = 1_000_000
_LISTED_S = 1.0  # between two questions who is there
_PASSING = (ErrorCode.BUSY, ErrorCode.TIMEOUT, ErrorCode.DISCONNECTED)


@asynccontextmanager
async def serving_hub(gateway: Gateway, hub: ReconnectingClient, address: str) -> AsyncIterator[None]:
    """Serve what the hub at `address` tells, and push to its peers, for the block, in which `hub` is open.
    Raises OSError where there is no room for what is pushed.
    """
    with temporary_folder() as folder, closing(Spool(folder / "spool")) as spool:
        async with hub:
            state = _HubState(hub, address)
            gateway.add_state(state.health, state.ready)
            limits = Limits(
                max_file_bytes=gateway.limits["push_mb"] * 1_000_000,
                keep_free_bytes=gateway.limits["keep_free_mb"] * 1_000_000,
            )
            pushes = _PushRoutes(hub, spool, limits)
            gateway.add("POST", "/devices/{name}/api/receive/file", refusing(pushes.file))
            gateway.add("POST", "/devices/{name}/api/receive/data", pushes.data)
            yield


class _HubState:
    """What a hub tells of itself. However many ask who is there, it is asked once a second."""

    def __init__(self, hub: ReconnectingClient, address: str) -> None:
        self._hub = hub
        self._address = address
        self._listing: asyncio.Task[dict[str, object] | ProtocolError] | None = None
        self._listed_s = 0.0

    def health(self) -> dict[str, object]:
        """Return how the gateway stands with its hub, without asking it."""
        hub: dict[str, object] = {"address": self._address, "state": self._hub.state}
        if self._hub.last_error is not None:
            hub["detail"] = self._hub.last_error.message
        return {"hub": hub}

    async def ready(self) -> dict[str, object]:
        """Return the names of targets and services. Raises Refusal where no hub tells them."""
        if self._hub.state != SessionState.CONNECTED:
            raise _away("there is no hub")
        is_old = time.monotonic() - self._listed_s > _LISTED_S
        if self._listing is None or (self._listing.done() and is_old):
            self._listing = asyncio.create_task(self._list())
        found = await asyncio.shield(self._listing)  # which others may wait for
        if isinstance(found, ProtocolError):
            raise _away(found.message)
        return found

    async def _list(self) -> dict[str, object] | ProtocolError:
        try:
            targets, services = await self._hub.targets(), await self._hub.services()
        except ProtocolError as error:
            return error
        finally:
            self._listed_s = time.monotonic()
        return {
            "targets": [target.target_id for target in targets],
            "services": [service.target_id for service in services],
        }


class _PushRoutes:
    """Pushes to whoever receives at the hub, as if it were asked itself."""

    def __init__(self, hub: ReconnectingClient, spool: Spool, limits: Limits) -> None:
        self._hub = hub
        self._spool = spool
        self._limits = limits

    async def file(self, exchange: Exchange) -> None:
        """Pass a file on. Raises Refusal, HungUp, NoRoom, OSError."""
        key = _key_of(exchange)
        folder = self._spool.take()
        try:
            path = await self._push_file(exchange, folder, key)
        except ProtocolError as error:
            raise _refused(error) from None
        finally:
            self._spool.give_back(folder)
        await exchange.answer_json({"status": "ok", "message": "File received", "path": path})

    async def data(self, exchange: Exchange) -> None:
        """Pass a value on. Raises Refusal, HungUp."""
        key = _key_of(exchange)
        content = bytearray()
        async for part in exchange.body(_MAX_DATA_BYTES):
            content += part
        value = parse_object(content)
        if "data" not in value:
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "field 'data' is missing: send {\"data\": …}")
        try:
            name = exchange.path_values["name"]
            await push_data(self._hub, name, value["data"], key=key, stall_ms=_STALL_MS)
        except ProtocolError as error:
            raise _refused(error) from None
        await exchange.answer_json({"status": "ok", "message": "Data received"})

    async def _push_file(self, exchange: Exchange, folder: Path, key: str | None) -> str:
        upload = folder / "upload"
        most_bytes = self._limits.max_file_bytes
        check_room(exchange, folder, self._limits, most_bytes)
        parts = exchange.body(most_bytes + OTHER_BYTES)
        content_type = exchange.header("content-type")
        form = await read_form(parts, content_type, "file", FileWriter(upload, self._limits), most_bytes)
        return await push_file(
            self._hub,
            exchange.path_values["name"],
            upload,
            filename=form.filename or "file",
            content_type=form.media_type,
            key=key,
            stall_ms=_STALL_MS,
        )


def _key_of(exchange: Exchange) -> str | None:
    """Return the key of a request as a push has one, None for none. Raises Refusal."""
    key = idempotency_key(exchange.header("idempotency-key"))
    return sha256(key.encode()).hexdigest() if key else None


def _refused(error: ProtocolError) -> Refusal:
    if error.code in _PASSING:
        return _away(error.message)
    if error.code == ErrorCode.UNKNOWN_TARGET:  # a hub that has just started knows nobody yet
        return _away(f"{error.message}: it has not been at this hub since that started")
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, error.message)


def _away(detail: str) -> Refusal:
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, detail, {"retry-after": "1"})
