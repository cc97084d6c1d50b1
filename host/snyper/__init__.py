"""SNYPER on a computer: talk to a hub and its targets."""

from shared.socket_protocol import ProtocolError
from snyper.client import Event, Hub, TargetInfo, TargetResult, connect

__all__ = ["Event", "Hub", "ProtocolError", "TargetInfo", "TargetResult", "connect"]
