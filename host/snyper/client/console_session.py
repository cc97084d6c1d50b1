"""A console's session with its hub: what it says of itself, and what becomes of whatever goes wrong."""

import asyncio
import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress

from snyper.client.addresses import dial_host
from snyper.client.environment import FILE_VARIABLE, KEY_VARIABLE, Keys, key_text, keys
from snyper.client.errors import NoHubError
from snyper.client.hub_client import REPLY_TIMEOUT_MS, HubClient
from snyper.shared.address import parse_hub
from snyper.shared.handshake_client import Registered
from snyper.shared.handshake_server import Role
from snyper.shared.link import Link
from snyper.shared.session import Session, SessionState
from snyper.shared.socket_protocol import ErrorCode, ProtocolError

DIAL_TIMEOUT_MS = 3_000
MAX_RETRY_MS = (
    1_000  # a hub that starts again is soon found; a connection that is refused costs next to nothing
)
MAX_REFUSED_MS = 5_000

# What a hub says of a console that it does not serve. Any other end of registering is no hub's.
_REFUSALS_TO_REGISTER = {
    ErrorCode.BUSY,
    ErrorCode.UNAUTHORIZED,
    ErrorCode.UNSUPPORTED,
    ErrorCode.BAD_MESSAGE,
    ErrorCode.NOT_REGISTERED,
    ErrorCode.INTERNAL,
}


class ConsoleSession(Session):
    """A session with a hub, or with one of several, for a console.

    `connection` is the last one that was made, also once it is lost; `on_change` is called with each state.
    `key` is for a hub that wants one; by default it is this computer's (`environment.keys`), as it is when
    the hub is dialled. Raises ValueError for an address or a key that is none.
    """

    dial_timeout_ms = DIAL_TIMEOUT_MS
    max_retry_ms = MAX_RETRY_MS
    max_refused_ms = MAX_REFUSED_MS

    def __init__(
        self,
        hubs: str | Sequence[str],
        key: str | None,
        on_change: Callable[[str], None] = lambda state: None,
    ) -> None:
        hubs = [hubs] if isinstance(hubs, str) else list(hubs)
        if not hubs:
            raise ValueError("name a hub: HOST:PORT or tls://HOST:PORT")
        for hub in hubs:
            parse_hub(hub)
        self._keys = keys() if key is None else Keys(key_text(key), (), "")
        self._is_key_given = key is not None
        super().__init__(hubs, {}, None, self._keys.client)
        self.register_timeout_ms = REPLY_TIMEOUT_MS
        self.connection: HubClient | None = None
        self._on_change = on_change
        self._was_connected = False
        self._tried = asyncio.Event()

    async def wait_until_tried(self) -> None:
        """Wait until there is a hub, or each has been asked once."""
        await self._tried.wait()

    def error(self) -> ProtocolError:
        """Return why there is no hub: NoHubError, but for what a hub itself has refused."""
        error = self.last_error
        if isinstance(error, OSError):
            return NoHubError(why_unreachable(error))
        if isinstance(error, ProtocolError) and error.code == ErrorCode.UNAUTHORIZED:
            return ProtocolError(error.code, f"{error.message} ({self._advice()})")
        if self._was_connected:
            return NoHubError("the connection broke off")
        if not isinstance(error, ProtocolError):
            return NoHubError("it is being asked for the first time")
        if error.code in _REFUSALS_TO_REGISTER:
            return ProtocolError(error.code, error.message)
        return NoHubError(f"what listens there does not answer as a hub: {error.message}")

    def _advice(self) -> str:
        """Say what to do for somebody whose key, or lack of one, the hub does not take."""
        if not self._key:
            return (
                f"give yours with {FILE_VARIABLE}=FILE: where the hub runs, "
                "`snyper keys add NAME --rights console --output FILE` writes such a file"
            )
        of = f" (of {self._keys.origin})" if self._keys.origin else ""
        name = self._key.partition(":")[0]
        return f"the key here is {name}{of}; {FILE_VARIABLE}=FILE gives another, {KEY_VARIABLE}= none"

    # --- hooks of the session

    async def join(self) -> None:
        """Take the key that holds now, or keep the one before where none can be read any more. Raises
        ProtocolError `unauthorized` without one for TLS, which alone does not tell the hub from who plays it.
        """
        if not self._is_key_given:
            with suppress(ValueError):
                self._keys = keys()
            self._key = self._keys.client
        if not self._key and parse_hub(self.hub)[2]:
            raise ProtocolError(ErrorCode.UNAUTHORIZED, "TLS needs a key, and there is none here")

    async def find(self, host: str) -> str:
        """Return what to dial for `host`. Raises OSError for a name that DNS cannot have."""
        try:
            host.encode("idna")
        except UnicodeError:
            raise socket.gaierror(socket.EAI_NONAME, "no name of DNS") from None
        return dial_host(host)

    def registration(self) -> dict[str, object]:
        """Return what a console says of itself."""
        return {"role": Role.CONSOLE}

    def on_registered(self, link: Link, registered: Registered, asked_us: int) -> None:
        """Make a connection of the link."""
        self._was_connected = True
        self.connection = HubClient(link, registered.boot_id, registered.open)

    async def serve(self, link: Link) -> None:
        """Do nothing beside the link: whoever has it talks over it."""

    def on_lost(self) -> None:
        """Do nothing: whoever has the link knows."""

    def on_state(self, state: str) -> None:
        """Tell whoever listens."""
        if state == SessionState.CONNECTING:
            self._was_connected = False
        elif state == SessionState.CONNECTED or (state == SessionState.WAITING and not self._at):
            self._tried.set()
        self._on_change(state)


def why_unreachable(error: OSError) -> str:
    """Explain in few words why nobody could be dialled."""
    if isinstance(error, ConnectionRefusedError):
        return "nothing listens there"
    if isinstance(error, socket.gaierror):
        return "no computer is known by that name"
    if isinstance(error, TimeoutError):
        return "nothing answers there"
    return os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
