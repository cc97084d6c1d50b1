"""SNYPER on a computer: talk to a hub and its targets; call functions and objects of another machine."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.cameras.camera import Camera
    from snyper.client import (
        Event,
        GameInfo,
        GameState,
        HubClient,
        HubStatus,
        NoHubError,
        PiezoPeaks,
        ReconnectingClient,
        ServiceInfo,
        TargetError,
        TargetInfo,
        TargetResult,
        Trace,
        connect,
        receive_files,
    )
    from snyper.services import (
        AsyncClient,
        AsyncServer,
        Busy,
        CallError,
        Cancelled,
        Client,
        Incompatible,
        LeaseLost,
        Locked,
        NotServed,
        OutcomeUnknown,
        Refused,
        RemoteError,
        ResultGone,
        Server,
        StreamLost,
        Unreachable,
        WouldDeadlock,
        break_lock,
        call_log,
        cancelled,
        close,
        closing,
        deadline,
        leases,
        lock,
        on_progress,
        progress,
        running,
        watch,
    )
    from snyper.shared.socket_protocol import ProtocolError

__all__ = [
    "AsyncClient",
    "AsyncServer",
    "Busy",
    "CallError",
    "Camera",
    "Cancelled",
    "Client",
    "Event",
    "GameInfo",
    "GameState",
    "HubClient",
    "HubStatus",
    "Incompatible",
    "LeaseLost",
    "Locked",
    "NoHubError",
    "NotServed",
    "OutcomeUnknown",
    "PiezoPeaks",
    "ProtocolError",
    "ReconnectingClient",
    "Refused",
    "RemoteError",
    "ResultGone",
    "Server",
    "ServiceInfo",
    "StreamLost",
    "TargetError",
    "TargetInfo",
    "TargetResult",
    "Trace",
    "Unreachable",
    "WouldDeadlock",
    "break_lock",
    "call_log",
    "cancelled",
    "close",
    "closing",
    "connect",
    "deadline",
    "leases",
    "lock",
    "on_progress",
    "progress",
    "receive_files",
    "running",
    "watch",
]

if not TYPE_CHECKING:

    def __getattr__(name):
        """Load a library with the first use of what it exports.

        Whoever imports a part of the package, such as a hub, does not load the others.
        """
        if name not in __all__:
            raise AttributeError(f"module 'snyper' has no attribute {name!r}")
        if name == "Camera":
            from snyper.cameras.camera import Camera

            return Camera
        from snyper import client, services

        return getattr(services if name in services.__all__ else client, name)

    def __dir__():
        return sorted(set(globals()) | set(__all__))
