"""The list of streams that a hub knows. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass

from snyper.shared.socket_protocol import SocketMessage


@dataclass(frozen=True)
class StreamInfo:
    """One stream, as the hub knows it. `connected` says that its source is there; `epoch` and `seq`, the
    number of the sample that comes next, are known once somebody has read it. `lost` counts the samples that
    did not come from the source, `refused` the blocks that were none, `kept_ms` how far back the hub can go.
    """

    source: str
    stream: str
    connected: bool
    dtype: str = ""
    shape: tuple[int, ...] = ()
    rate_hz: float = 0
    epoch: str = ""
    seq: int = 0
    subscribers: int = 0
    lost: int = 0
    refused: int = 0
    kept_bytes: int = 0
    kept_ms: int = 0

    @property
    def name(self) -> str:
        """Return what it is read by."""
        return f"{self.source}/{self.stream}"


def stream_info_of(message: SocketMessage) -> StreamInfo:
    """Read an item of `list_streams`. Whatever is in it: what is not what it should be is not known."""
    data: Mapping[str, object] = message.data or {}
    shape = data.get("shape")
    rate_hz = data.get("rate_hz")
    return StreamInfo(
        source=message.target_id or "",
        stream=str(data.get("stream", "")),
        connected=data.get("connected") is True,
        dtype=str(data.get("dtype", "")),
        shape=tuple(length for length in shape if type(length) is int) if isinstance(shape, list) else (),
        rate_hz=rate_hz if isinstance(rate_hz, int | float) else 0,
        epoch=str(data.get("epoch", "")),
        **{name: _count(data.get(name)) for name in _COUNTS},
    )


_COUNTS = ("seq", "subscribers", "lost", "refused", "kept_bytes", "kept_ms")


def _count(value: object) -> int:
    return value if type(value) is int and value >= 0 else 0
