"""Parts of requests that many share: the key of an item, JSON, a disk that takes no file."""

from __future__ import annotations

import errno
from http import HTTPStatus
from pathlib import Path

from snyper.device import strict_json
from snyper.device.inbox.limits import Limits
from snyper.device.serving.exchange import Exchange, Refusal

MAX_KEY_CHARS = 255
NO_ROOM_S = 60  # after which a sender may ask again whether there is room


def idempotency_key(text: str) -> str:
    """Return the key in an Idempotency-Key, quoted as its draft has it or bare, "" for none. Raises
    Refusal.
    """
    key = text
    if len(text) >= 2 and text[0] == text[-1] == '"':
        key = text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if (text and not key) or len(key) > MAX_KEY_CHARS or not (key.isascii() and key.isprintable()):
        raise Refusal(
            HTTPStatus.BAD_REQUEST,
            f"an Idempotency-Key has 1 to {MAX_KEY_CHARS} printable characters of ASCII",
        )
    return key


def check_room(exchange: Exchange, folder: Path, limits: Limits, most_bytes: int) -> None:
    """Raise NoRoom for a body that announces more than there is room for. Of one beyond `most_bytes` whoever
    reads it says so.
    """
    announced = exchange.header("content-length")
    if announced.isdecimal() and int(announced) <= most_bytes:
        limits.check_room(folder, int(announced))


def parse_object(content: bytes | bytearray) -> dict[str, object]:
    """Parse a body that is a JSON object. Raises Refusal for what is none."""
    try:
        return strict_json.parse_object(content)
    except strict_json.NotAnObject as error:
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, str(error)) from None
    except ValueError as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, str(error)) from None


def disk_refusal(error: OSError) -> Refusal:
    """Return what is said of a disk that does not take a file. A client may repeat it."""
    is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    why = "the disk is full" if is_full else "the disk takes no files"
    return Refusal(
        HTTPStatus.INSUFFICIENT_STORAGE, f"{why}: nothing was kept", {"retry-after": str(NO_ROOM_S)}
    )
