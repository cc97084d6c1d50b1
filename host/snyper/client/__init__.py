"""The library that every face and every script uses: a hub and its targets from a computer."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.client.connection import DEFAULT_HUB, connect
    from snyper.client.errors import NoHubError, TargetError
    from snyper.client.file_receiver import receive_files
    from snyper.client.hub_client import HubClient
    from snyper.client.models import (
        CeaseFire,
        Event,
        GameInfo,
        GameOption,
        GameState,
        HubStatus,
        PiezoPeaks,
        ServiceInfo,
        TargetInfo,
        TargetResult,
        Trace,
        crosstalk_of,
    )
    from snyper.client.reconnecting_client import ReconnectingClient
    from snyper.shared.socket_protocol import ProtocolError

__all__ = [
    "DEFAULT_HUB",
    "CeaseFire",
    "Event",
    "GameInfo",
    "GameOption",
    "GameState",
    "HubClient",
    "HubStatus",
    "NoHubError",
    "PiezoPeaks",
    "ProtocolError",
    "ReconnectingClient",
    "ServiceInfo",
    "TargetError",
    "TargetInfo",
    "TargetResult",
    "Trace",
    "connect",
    "crosstalk_of",
    "receive_files",
]

if not TYPE_CHECKING:

    def __getattr__(name):
        """Load the connection with the first use of what this package exports.

        Whoever imports another module of it, such as a hub the addresses, does not load the connection.
        """
        if name not in __all__:
            raise AttributeError(f"module 'snyper.client' has no attribute {name!r}")
        from snyper.client import connection, errors, file_receiver, models

        parts = (connection, models, errors, file_receiver)
        return next(getattr(part, name) for part in parts if hasattr(part, name))

    def __dir__():
        return sorted(set(globals()) | set(__all__))
