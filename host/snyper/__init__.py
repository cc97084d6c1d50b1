"""SNYPER on a computer: talk to a hub and its targets."""

from shared.socket_protocol import ProtocolError
from snyper.client import Event, GameInfo, GameState, Hub, HubStatus, TargetInfo, TargetResult, connect

__all__ = [
    "Event",
    "GameInfo",
    "GameState",
    "Hub",
    "HubStatus",
    "ProtocolError",
    "TargetInfo",
    "TargetResult",
    "connect",
]
