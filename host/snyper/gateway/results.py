"""Results as answers: JSON, or a file that is sent piece by piece."""

import asyncio
import json
import os
from http import HTTPStatus
from typing import BinaryIO
from urllib.parse import quote

from snyper.device.serving.exchange import Exchange, HungUp, Refusal
from snyper.device.serving.forms import OCTET_STREAM
from snyper.offload.declarations import Kind, Service
from snyper.offload.idempotency import Result

_PIECE_BYTES = 131_072


async def send_result(exchange: Exchange, service: Service, result: Result) -> None:
    """Send what a service gave: JSON, and nothing else, as application/json. Raises Refusal, HungUp."""
    if result.refusal is not None:
        raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, result.refusal)
    if result.file is not None:
        try:
            file = result.file.open("rb", buffering=0)
        except OSError:
            raise Refusal(
                HTTPStatus.INTERNAL_SERVER_ERROR, "the result was removed before it was sent"
            ) from None
        with file:
            await _send_file(exchange, service, result, file)
    elif service.kind is Kind.DATA:
        await exchange.answer(200, b"{%s:%s}" % (json.dumps(service.gives).encode(), result.json))
    else:
        await exchange.answer(200, result.json)


async def _send_file(exchange: Exchange, service: Service, result: Result, file: BinaryIO) -> None:
    left = file.seek(0, 2)
    file.seek(0)
    media_type = service.media_type or result.media_type or OCTET_STREAM
    if "json" in media_type.lower():  # the document's clients take whatever says so for a JSON result
        media_type = OCTET_STREAM
    headers = (
        {}
        if service.kind is Kind.IMAGE
        else {"content-disposition": attachment(f"processed_{result.filename}")}
    )
    await exchange.begin_answer(200, left, media_type, headers)
    while True:
        size = min(left, _PIECE_BYTES)
        piece = _read_from_memory(file, size) or await asyncio.to_thread(file.read, size)
        if not piece and left:
            raise OSError("a result became shorter while it was sent")
        if exchange.is_gone:
            raise HungUp
        left -= len(piece)
        await exchange.send(piece, is_last=not left)
        if not left:
            return


def _read_from_memory(file: BinaryIO, size: int) -> bytes:
    """Read what the system has of the next `size` bytes in its memory, which is sooner done than a thread is
    asked: b"" for none, or where it does not say. preadv2(2), RWF_NOWAIT; Linux only.
    """
    if not hasattr(os, "RWF_NOWAIT"):
        return b""
    piece = bytearray(size)
    try:
        count = os.preadv(file.fileno(), [piece], file.tell(), os.RWF_NOWAIT)
    except OSError:
        return b""
    file.seek(count, os.SEEK_CUR)
    return bytes(memoryview(piece)[:count])


def attachment(name: str) -> str:
    """Return the Content-Disposition of a file, as RFC 6266 has it: in UTF-8 where ASCII does not do, with a
    name of ASCII for who does not know that.
    """
    plain = "".join(sign if " " <= sign <= "~" and sign not in '"\\%' else "_" for sign in name)
    if plain == name:
        return f'attachment; filename="{name}"'
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
