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
from snyper.device.packing import GZIP, SAMPLE_BYTES, is_worth, packed, packed_bytes
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
    compress: bool = False,
    headers: Optional[Mapping[str, str]] = None,
) -> Any:
    """Send JSON and return what `take` makes of the answer of an endpoint that succeeds.

    With `compress` it is packed where that gains something and the server takes it. `headers` go along.
    Raises TypeError and ValueError for what JSON has no value for, NaN among it; Refused, ServerFailed,
    Unreachable, BadAnswer, and what the limits raise.
    """
    return send_text(connection, endpoint, json_bytes(value), key, limits, tries, take, compress, headers)


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
    compress: bool = False,
    headers: Optional[Mapping[str, str]] = None,
) -> Any:
    """Send JSON that is written already, otherwise as `send_json` does."""
    limits = limits or Limits()
    counted = Tries(limits, tries)
    headers = {"Content-Type": "application/json", **_key_header(key), **(headers or {})}
    if compress and is_worth(text[:SAMPLE_BYTES]):
        offer = counted.run(lambda: resumable.offer(connection, endpoint, limits))
        if offer.is_packed:
            text = packed_bytes(text)
            headers["Content-Encoding"] = GZIP

    def attempt() -> Any:
        body = Body(len(text), (text,))
        return connection.request("POST", endpoint, headers, body, limits, _of_success(take))

    return counted.run(attempt)


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
    compress: bool = False,
    headers: Optional[Mapping[str, str]] = None,
) -> Any:
    """Send a file and return what `take` makes of the answer of an endpoint that succeeds.

    A large one goes in pieces where the server takes them, else it goes as a form: with `compress` packed,
    where that gains something and the server takes it. `on_sent` is told how many bytes of how many are out,
    from the thread that sends. `headers` go along. Raises OSError and ValueError for a file that cannot be
    sent; FileChanged, Refused, ServerFailed, Unreachable, BadAnswer, and what the limits raise.
    """
    limits = limits or Limits()
    name = _as_text(path.name if filename is None else filename)
    headers = {**_key_header(key), **(headers or {})}
    fields = dict(fields or {})
    counted = Tries(limits, tries)
    with SentFile(path) as file:
        is_large = file.size > resumable.PIECE_BYTES
        may_pack = compress and is_worth(file.read(0, min(SAMPLE_BYTES, file.size)))
        offer = None
        if is_large or may_pack:
            offer = counted.run(lambda: resumable.offer(connection, endpoint, limits))
            if offer.max_size is not None and file.size > offer.max_size:
                raise Refused(413, f"the server takes {offer.max_size} bytes at most")
        if offer is not None and offer.in_pieces and is_large:
            return resumable.Upload(
                *(connection, endpoint, file, headers, name, fields, offer.piece_bytes),
                *(limits, counted, on_sent, take),
            ).run()
        boundary = hashlib.sha256(key.encode()).hexdigest()[:32]  # the same bytes with each try
        headers = {"Content-Type": "multipart/form-data; boundary=" + boundary, **headers}

        def attempt(make_body: Callable[[], Body]) -> Any:
            return connection.request("POST", endpoint, headers, make_body(), limits, _of_success(take))

        def form(on_sent: OnSent) -> Body:
            return multipart(file, field, name, fields, boundary, on_sent)

        if offer is None or not (offer.is_packed and may_pack):
            return counted.run(lambda: attempt(lambda: form(on_sent)))
        headers["Content-Encoding"] = GZIP
        with packed(form(unheard)) as content:

            def on_hundredth(done: int) -> None:
                on_sent(file.size * done // 100, file.size)

            return counted.run(lambda: attempt(lambda: content.body(on_hundredth)))


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
