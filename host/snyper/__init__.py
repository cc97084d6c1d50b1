"""SNYPER on a computer: talk to a hub and its targets."""

from shared.socket_protocol import ProtocolError
from snyper.client import (
    Event,
    GameInfo,
    GameState,
    Heard,
    Hub,
    HubStatus,
    TargetError,
    TargetInfo,
    TargetResult,
    Trace,
    connect,
)

__all__ = [
    "Event",
    "GameInfo",
    "GameState",
    "Heard",
    "Hub",
    "HubStatus",
    "ProtocolError",
    "TargetError",
    "TargetInfo",
    "TargetResult",
    "Trace",
    "connect",
]
