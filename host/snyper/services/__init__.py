"""Functions and objects of another machine, as if they were here."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.gateway.service_routes import services_app as app
    from snyper.offload.context import progress
    from snyper.offload.declarations import data_service, file_service, image_service
    from snyper.offload.work import InvalidInput
    from snyper.services.async_client import AsyncClient
    from snyper.services.async_server import AsyncServer
    from snyper.services.client import Client, call_log, close, closing, running
    from snyper.services.context import cancelled, deadline, on_progress
    from snyper.services.locks import break_lock, leases, lock
    from snyper.services.remote_exceptions import (
        Busy,
        CallError,
        Cancelled,
        Incompatible,
        LeaseLost,
        Locked,
        NotServed,
        OutcomeUnknown,
        Refused,
        RemoteError,
        ResultGone,
        StreamLost,
        Unreachable,
        WouldDeadlock,
    )
    from snyper.services.server import Server
    from snyper.services.watches import watch

__all__ = [
    "AsyncClient",
    "AsyncServer",
    "Busy",
    "CallError",
    "Cancelled",
    "Client",
    "Incompatible",
    "InvalidInput",
    "LeaseLost",
    "Locked",
    "NotServed",
    "OutcomeUnknown",
    "Refused",
    "RemoteError",
    "ResultGone",
    "Server",
    "StreamLost",
    "Unreachable",
    "WouldDeadlock",
    "app",
    "break_lock",
    "call_log",
    "cancelled",
    "close",
    "closing",
    "data_service",
    "deadline",
    "file_service",
    "image_service",
    "leases",
    "lock",
    "on_progress",
    "progress",
    "running",
    "watch",
]

if not TYPE_CHECKING:

    def __getattr__(name):
        """Load a side with its first use: a client needs none of the server's."""
        if name not in __all__:
            raise AttributeError(f"module 'snyper.services' has no attribute {name!r}")
        if name == "Server":
            from snyper.services.server import Server

            return Server
        if name == "AsyncClient":
            from snyper.services.async_client import AsyncClient

            return AsyncClient
        if name == "AsyncServer":
            from snyper.services.async_server import AsyncServer

            return AsyncServer
        if name in ("data_service", "file_service", "image_service"):
            from snyper.offload import declarations

            return getattr(declarations, name)
        if name == "app":
            from snyper.gateway.service_routes import services_app

            return services_app
        if name == "progress":
            from snyper.offload.context import progress

            return progress
        if name == "InvalidInput":
            from snyper.offload.work import InvalidInput

            return InvalidInput
        from snyper.services import client, context, locks, remote_exceptions, watches

        parts = (client, context, locks, remote_exceptions, watches)
        return next(getattr(part, name) for part in parts if hasattr(part, name))

    def __dir__():
        return sorted(set(globals()) | set(__all__))
