"""A service's session with its hub: the name that it has there, and what it says of itself."""

import hashlib
import socket
from collections.abc import Callable, Sequence

from snyper.client.console_session import ConsoleSession
from snyper.shared.handshake_client import Registered
from snyper.shared.handshake_server import Role
from snyper.shared.link import Link
from snyper.shared.socket_protocol import (
    ALL_TARGETS,
    MAX_TARGET_ID_CHARS,
    ErrorCode,
    ProtocolError,
    is_target_id,
)


def check_name(name: str) -> None:
    """Raise ValueError for what is no name at a hub."""
    if not is_target_id(name) or name == ALL_TARGETS:
        raise ValueError(f"{name!r} is no name: 1 to {MAX_TARGET_ID_CHARS} of A-Z a-z 0-9 _ - ., not all")


def hardware_id_of(name: str) -> str:
    """Return the hardware id of a service: the same for each process of this computer with that name."""
    return hashlib.sha256(f"{socket.gethostname()}/{name}".encode()).hexdigest()[:16]


class ServiceSession(ConsoleSession):
    """A session as the service `name`. A `hardware_id` that another process has too lets it in as soon as
    that is silent. Raises ValueError for an address, a name or a key that is none.
    """

    def __init__(
        self,
        hubs: str | Sequence[str],
        name: str,
        key: str | None,
        hardware_id: str,
        on_change: Callable[[str], None] = lambda state: None,
    ) -> None:
        super().__init__(hubs, key, on_change)
        check_name(name)
        self.target_id = name
        self._hardware_id = hardware_id

    def about(self) -> str:
        """Return for people, in at most 64 characters, what it serves."""
        raise NotImplementedError

    def error(self) -> ProtocolError:
        """Return why there is no hub: NoHubError, but for what a hub itself has refused."""
        error = self.last_error
        if isinstance(error, ProtocolError) and error.code == ErrorCode.DUPLICATE_TARGET:
            why = f"another is there as {self.target_id}: end that one, or choose another name"
            return ProtocolError(error.code, why)
        return super().error()

    def registration(self) -> dict[str, object]:
        """Return what it says of itself."""
        return {"role": Role.SERVICE, "hardware_id": self._hardware_id, "firmware": self.about()}

    def on_registered(self, link: Link, registered: Registered, asked_us: int) -> None:
        """Serve from now on."""
        self._was_connected = True
