"""The face of stored arrays: uploads, the list, arrays and slices of them as JSON and as `.npy`."""

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO
from urllib.parse import parse_qs

from snyper.arrays import encoding
from snyper.arrays.npy import Head, NotTaken
from snyper.arrays.slices import NoSlice, Selection, pieces
from snyper.arrays.store import Entry, KeyReused, Limits, NoRoom, Store, as_os_error
from snyper.device.serving.exchange import Exchange, Handler, Refusal
from snyper.device.serving.forms import OCTET_STREAM, OTHER_BYTES, read_form
from snyper.device.serving.requests import disk_refusal, idempotency_key
from snyper.gateway.app import Gateway
from snyper.gateway.array_uploads import ArrayWriter
from snyper.gateway.places import Places
from snyper.gateway.results import attachment
from snyper.gateway.stored_arrays import (
    INDEX,
    PAGE,
    SHOWN_CHARS,
    Missing,
    StoredArrays,
    npy_of,
    selection_of,
    shown,
)
from snyper.gateway.work_routes import key_reused

NPY = "application/x-npy"
JSON = "application/json"
_MB = 1_000_000
_PIECE_BYTES = 131_072
_MAX_FIELDS = 20  # of a query


@asynccontextmanager
async def serving_arrays(gateway: Gateway, folder: Path) -> AsyncIterator[StoredArrays]:
    """Serve the arrays in `folder` for the block. Raises InUseError, OSError."""
    limits = gateway.limits
    store = Store(folder, Limits(limits["array_mb"] * _MB, limits["arrays"], limits["keep_free_mb"] * _MB))
    with closing(store):
        stored = StoredArrays(store, Places(limits["places"], limits["hold_s"]))
        routes = _ArrayRoutes(stored)
        gateway.add("POST", "/upload", _shaped(routes.upload))
        gateway.add("GET", "/arrays", _shaped(routes.list))
        gateway.add("GET", "/array/{name:path}", _shaped(routes.get))
        gateway.add("DELETE", "/array/{name:path}", _shaped(routes.delete))
        gateway.add_state(lambda: {"status": "healthy", "arrays_stored": store.count})
        yield stored


def _shaped(handler: Handler) -> Handler:
    """Return a handler whose errors have the shape that clients of arrays know."""

    async def serve(exchange: Exchange) -> None:
        exchange.error_of = lambda detail: {"status": "error", "message": detail}
        try:
            await handler(exchange)
        except Missing as error:
            raise Refusal(HTTPStatus.NOT_FOUND, str(error)) from None
        except (NotTaken, NoSlice) as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, str(error)) from None
        except NoRoom as error:
            raise Refusal(HTTPStatus.INSUFFICIENT_STORAGE, str(error), {"retry-after": "60"}) from None
        except KeyReused:
            raise key_reused() from None
        except sqlite3.Error as error:
            raise disk_refusal(as_os_error(error)) from error

    return serve


class _ArrayRoutes:
    def __init__(self, stored: StoredArrays) -> None:
        self._stored = stored
        self._store = stored.store

    async def upload(self, exchange: Exchange) -> None:
        """Store an array, which comes in a form or as it is. Raises Refusal, HungUp, NotTaken, NoRoom."""
        key = idempotency_key(exchange.header("idempotency-key"))
        async with self._stored.places.one(exchange.address):
            part = self._store.new_part()
            try:
                answer = await self._receive(exchange, part, key)
            except Refusal as refusal:
                if refusal.status == HTTPStatus.UNPROCESSABLE_ENTITY:
                    exchange.error_of = _no_file
                raise
            except OSError as error:
                raise disk_refusal(error) from error
            finally:
                part.unlink(missing_ok=True)
        await exchange.answer_json(answer)

    async def _receive(self, exchange: Exchange, part: Path, key: str) -> dict[str, object]:
        writer = ArrayWriter(part, self._store)
        most = self._store.limits.max_bytes
        media_type = exchange.header("content-type")
        query = _query(exchange)
        name = query.get("name", "")
        kind = media_type.partition(";")[0].strip().lower()
        if kind in (NPY, OCTET_STREAM):
            async for content in exchange.body(most, "the array"):
                await writer.write(content)
            await writer.close()
        elif kind != "multipart/form-data":
            explanation = "field 'file' is missing: send multipart/form-data, with the file in it"
            raise Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, explanation)
        else:
            form = await read_form(exchange.body(most + OTHER_BYTES), media_type, "file", writer, most)
            name = form.texts.get("name") or name or form.filename or ""
        secret = sha256(f"{exchange.principal}\0{key}".encode()).hexdigest() if key else None
        return await asyncio.to_thread(self._stored.add, writer, name, secret)

    async def list(self, exchange: Exchange) -> None:
        """Answer with all arrays, or a page of them. Raises Refusal, HungUp."""
        query = _query(exchange)
        if query.keys() & {"limit", "after", "before"}:
            limit = _count(query, "limit", PAGE)
            with_previews = query.get("previews") in ("1", "true")
            if "before" in query:
                page = partial(self._stored.newest, _count(query, "before", -1))
            else:
                page = partial(self._stored.page, _count(query, "after", -1))
            await exchange.answer_json(await asyncio.to_thread(page, limit, with_previews))
            return
        await exchange.stream(self._all(), JSON)

    def _all(self) -> Iterator[bytes]:
        """Yield the JSON of the whole list, which has at its end how many it has: more may come meanwhile."""
        after, count = -1, 0
        yield b'{"arrays":['
        while entries := self._store.page(after, PAGE):
            text = json.dumps([shown(entry) for entry in entries], separators=(",", ":"))[1:-1]
            yield (("," if count else "") + text).encode()
            count += len(entries)
            after = entries[-1].index
        yield b'],"count":%d}' % count

    async def get(self, exchange: Exchange) -> None:
        """Answer with an array, or a slice of it. Raises Refusal, HungUp, Missing, NoSlice."""
        query = _query(exchange)
        entry, file = await asyncio.to_thread(self._stored.open, exchange.path_values["name"])
        with file:
            selection = selection_of(entry.head, query.get("slice"))
            if _wants_npy(exchange, query):
                await _send_npy(exchange, entry, file, selection)
            else:
                await _send_json(exchange, entry.head, file, selection)

    async def delete(self, exchange: Exchange) -> None:
        """Delete an array. Raises Refusal, Missing."""
        await exchange.answer_json(await asyncio.to_thread(self._stored.delete, exchange.path_values["name"]))


def _no_file(detail: str) -> dict[str, object]:
    """Return what is answered to an upload without its file, with FastAPI's `detail`, as clients know it."""
    missing = {"type": "missing", "loc": ["body", "file"], "msg": detail, "input": None}
    return {"status": "error", "message": detail, "detail": [missing]}


async def _send_json(exchange: Exchange, head: Head, file: BinaryIO, selection: Selection) -> None:
    numbers = pieces(file, head, selection, encoding.PIECE_BYTES)
    parts = encoding.as_object(numbers, selection.shape, head.type)
    await exchange.stream(parts, JSON)


async def _send_npy(exchange: Exchange, entry: Entry, file: BinaryIO, selection: Selection) -> None:
    npy = npy_of(entry.head, file, selection, _PIECE_BYTES)
    headers = {"content-disposition": attachment(f"{entry.name.removesuffix('.npy')}.npy")}
    await exchange.stream(npy.blocks, NPY, headers, npy.length)


def _wants_npy(exchange: Exchange, query: dict[str, str]) -> bool:
    if "format" in query:
        if query["format"] not in ("npy", "json"):
            raise Refusal(HTTPStatus.BAD_REQUEST, "format is npy or json")
        return query["format"] == "npy"
    accept = exchange.header("accept")
    return _quality(accept, NPY) > 0 and _quality(accept, NPY) >= _quality(accept, JSON)


def _quality(accept: str, media_type: str) -> float:
    """Return how much a client wants that very type, from 0 to 1 (RFC 9110, 12.4.2)."""
    for one in accept.lower().split(","):
        name, *parameters = (part.strip() for part in one.split(";"))
        if name == media_type:
            given = [part[2:] for part in parameters if part.startswith("q=")]
            try:
                return float(given[0]) if given else 1.0
            except ValueError:
                return 0.0
    return 0.0


def _query(exchange: Exchange) -> dict[str, str]:
    """Return the fields of a query, the last of each name. Raises Refusal."""
    try:
        text = exchange.scope["query_string"].decode("latin-1")
        found = parse_qs(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise Refusal(HTTPStatus.BAD_REQUEST, f"a query has at most {_MAX_FIELDS} fields") from None
    return {name: values[-1] for name, values in found.items()}


def _count(query: dict[str, str], name: str, default: int) -> int:
    text = query.get(name, str(default))
    if INDEX.fullmatch(text):
        if name != "limit":
            return int(text)
        if 1 <= int(text) <= PAGE:
            return int(text)
    what = "an index" if name != "limit" else f"a number from 1 to {PAGE}"
    raise Refusal(HTTPStatus.BAD_REQUEST, f"{name} is {what}, not {text[:SHOWN_CHARS]!r}")
