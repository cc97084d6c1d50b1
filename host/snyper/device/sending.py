"""Files and JSON sent to an endpoint, with tries, each piece of work under one key."""

import hashlib
import json
import uuid
from pathlib import Path
from typing import Any, Callable, Dict, Mapping, Optional

from snyper.device import resumable
from snyper.device.answer import Answer
from snyper.device.connection import Body, Connection
from snyper.device.errors import Refused
from snyper.device.limits import Limits
from snyper.device.multipart import OnSent, SentFile, multipart
from snyper.device.retrying import TRIES, Tries, check

Take = Callable[[Answer], Any]


def unheard(sent: int, total: int) -> None:
    """Take progress that nobody wants to know."""


def new_key() -> str:
    """Make the name of a new piece of work, which nobody can guess."""
    return uuid.uuid4().hex


def send_json(
    connection: Connection,
    endpoint: str,
    value: object,
    key: str,
    limits: Optional[Limits] = None,
    tries: int = TRIES,
    take: Take = Answer.value,
) -> Any:
    """Send JSON and return what `take` makes of the answer of an endpoint that succeeds.

    Raises TypeError and ValueError for what JSON has no value for, NaN among it; Refused, ServerFailed,
    Unreachable, BadAnswer, and what the limits raise.
    """
    return send_text(connection, endpoint, json_bytes(value), key, limits, tries, take)


def json_bytes(value: object) -> bytes:
    """Return a value as JSON. Raises TypeError, ValueError."""
    return json.dumps(value, allow_nan=False).encode("ascii")


def send_text(
    connection: Connection,
    endpoint: str,
    text: bytes,
    key: str,
    limits: Optional[Limits] = None,
    tries: int = TRIES,
    take: Take = Answer.value,
) -> Any:
    """Send JSON that is written already, otherwise as `send_json` does."""
    limits = limits or Limits()
    headers = {"Content-Type": "application/json", **_key_header(key)}

    def attempt() -> Any:
        body = Body(len(text), (text,))
        return connection.request("POST", endpoint, headers, body, limits, _of_success(take))

    return Tries(limits, tries).run(attempt)


def send_file(
    connection: Connection,
    endpoint: str,
    path: Path,
    key: str,
    field: str = "file",
    filename: Optional[str] = None,
    fields: Optional[Mapping[str, str]] = None,
    limits: Optional[Limits] = None,
    tries: int = TRIES,
    on_sent: OnSent = unheard,
    take: Take = Answer.value,
    in_pieces: bool = True,
) -> Any:
    """Send a file and return what `take` makes of the answer of an endpoint that succeeds.

    A large one goes in pieces where the server takes them and `in_pieces` is true, else all goes as
    multipart. `on_sent` is told how many bytes of how many are out, from the thread that sends. Raises
    OSError and ValueError for a file that cannot be sent; FileChanged, Refused, ServerFailed, Unreachable,
    BadAnswer, and what the limits raise.
    """
    limits = limits or Limits()
    name = _as_text(path.name if filename is None else filename)
    fields = dict(fields or {})
    with SentFile(path) as file:
        counted = Tries(limits, tries)
        if in_pieces and file.size > resumable.PIECE_BYTES:
            offer = counted.run(lambda: resumable.offer(connection, endpoint, limits))
            if offer is not None:
                if offer.max_size is not None and file.size > offer.max_size:
                    raise Refused(413, f"the server takes {offer.max_size} bytes at most")
                return resumable.Upload(
                    *(connection, endpoint, file, _key_header(key), name, fields, offer.piece_bytes),
                    *(limits, counted, on_sent, take),
                ).run()
        boundary = hashlib.sha256(key.encode()).hexdigest()[:32]  # the same bytes with each try
        headers = {"Content-Type": "multipart/form-data; boundary=" + boundary, **_key_header(key)}

        def attempt() -> Any:
            body = multipart(file, field, name, fields, boundary, on_sent)
            return connection.request("POST", endpoint, headers, body, limits, _of_success(take))

        return counted.run(attempt)


def _of_success(take: Take) -> Take:
    def taken(answer: Answer) -> Any:
        check(answer.status, answer.detail, answer.retry_after_s)
        return take(answer)

    return taken


def _key_header(key: str) -> Dict[str, str]:
    if not key.isprintable() or not key.isascii() or '"' in key or "\\" in key or not 0 < len(key) <= 255:
        raise ValueError(f"{key!r} is no key: 1 to 255 letters and digits")
    return {"Idempotency-Key": f'"{key}"'}


def _as_text(name: str) -> str:
    """Return a file's name with what is no text in it replaced."""
    return name.encode("utf-8", "replace").decode("utf-8")
