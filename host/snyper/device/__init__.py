"""A small device's end of offload: work for a server, files for a receiver, an outbox for when it is away.

Python 3.7 and its standard library are all that this folder needs: copied to `snyper/device` on a device it
runs there.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from snyper.device.adapters import LocalFileAdapter, RemoteFileAdapter, adapter
    from snyper.device.delivery import Delivery, Report
    from snyper.device.errors import (
        BadAnswer,
        FileChanged,
        OutboxFull,
        OutboxLocked,
        Refused,
        ServerFailed,
        Stopped,
        TimedOut,
        TransferError,
        Unreachable,
    )
    from snyper.device.outbox import Item, Outbox
    from snyper.device.push import ClientPush
    from snyper.device.serving.receiver import Receiver

__all__ = [
    "BadAnswer",
    "ClientPush",
    "Delivery",
    "FileChanged",
    "Item",
    "LocalFileAdapter",
    "Outbox",
    "OutboxFull",
    "OutboxLocked",
    "Receiver",
    "Refused",
    "RemoteFileAdapter",
    "Report",
    "ServerFailed",
    "Stopped",
    "TimedOut",
    "TransferError",
    "Unreachable",
    "adapter",
]

if not TYPE_CHECKING:

    def __getattr__(name):
        """Load what this package exports with its first use: one who sends does not load what receives, and
        whoever imports another module of it loads none of these.
        """
        if name not in __all__:
            raise AttributeError(f"module 'snyper.device' has no attribute {name!r}")
        if name == "Receiver":
            from snyper.device.serving.receiver import Receiver

            return Receiver
        from snyper.device import adapters, delivery, errors, outbox, push

        parts = (adapters, delivery, errors, outbox, push)
        return next(getattr(part, name) for part in parts if hasattr(part, name))

    def __dir__():
        return sorted(set(globals()) | set(__all__))
