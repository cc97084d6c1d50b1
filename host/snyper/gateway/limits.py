"""The limits of the gateway, each settable with `--limit NAME=NUMBER`."""

from snyper.device.serving.limits import SERVER_LIMITS
from snyper.shared.config import Integer

LIMITS: dict[str, Integer] = {
    **{name: Integer(*bounds) for name, bounds in SERVER_LIMITS.items()},
    "places": Integer(64, 1, 10_000),  # requests whose body is read, waits or is worked on
    "hold_s": Integer(20, 1, 3_600),  # for a place and a worker; the document's clients wait 30 s
    "jobs": Integer(100, 1, 100_000),  # asked for with respond-async, and not over
    "return_s": Integer(10, 1, 3_600),  # the document's clients repeat within 2 s, ours within some more
    "unclaimed_s": Integer(30, 1, 3_600),
    "keep_s": Integer(86_400, 1, 31_536_000),
    "kept": Integer(1_000, 1, 1_000_000),
    "kept_mb": Integer(1_000, 1, 1_000_000),
    "keep_free_mb": Integer(64, 0, 1_000_000),  # of the disk
    "push_mb": Integer(1_000, 1, 1_000_000),  # of a file that a gateway passes on
}

# Of a gateway that stores arrays, or has a signal.
ARRAY_LIMITS: dict[str, Integer] = {
    "array_mb": Integer(2_000, 1, 1_000_000),  # of one array's file
    "arrays": Integer(10_000_000, 1, 999_999_999),
    "listeners": Integer(256, 1, 60_000),  # to a signal; an address has half of its connections for it
    "ping_s": Integer(20, 1, 3_600),  # between pings of a WebSocket, and for each to be answered
    "message_bytes": Integer(65_536, 1_024, 1_000_000),  # of what one sends: existing clients need 30
}

# Of a gateway with cameras.
CAMERA_LIMITS: dict[str, Integer] = {
    "sio_clients": Integer(500, 1, 60_000),  # of Socket.IO; an address has half of them
    "sio_ping_s": Integer(5, 1, 3_600),  # between two pings of Socket.IO
    "sio_answer_s": Integer(5, 1, 3_600),  # for each of them to be answered
    "sio_message_mb": Integer(16, 1, 256),  # of a message, and of a body over REST
}
