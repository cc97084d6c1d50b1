"""A small device's end of offload: work for a server, files for a receiver, an outbox for when it is away.

Python 3.7 and its standard library are all that this folder needs: copied to `snyper/device` on a device it
runs there.
"""

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
