"""The face of stored arrays: uploads, the list, arrays and slices of them as JSON and as `.npy`."""

import asyncio
import json
import re
import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from datetime import UTC, datetime
from functools import lru_cache
from hashlib import sha256
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO
from unicodedata import normalize
from urllib.parse import parse_qs

import numpy

from snyper.arrays import encoding
from snyper.arrays.npy import Head, NotTaken, head_bytes
from snyper.arrays.slices import NoSlice, Selection, file_order, pieces, select, whole
from snyper.arrays.store import Entry, KeyReused, Limits, NoRoom, Store, Upload, as_os_error
from snyper.device.inbox.names import safe_name
from snyper.device.serving.exchange import Exchange, Handler, Refusal
from snyper.device.serving.forms import OCTET_STREAM, OTHER_BYTES, read_form
from snyper.device.serving.requests import disk_refusal, idempotency_key
from snyper.gateway.app import Gateway
from snyper.gateway.array_uploads import ArrayWriter
from snyper.gateway.places import Places
from snyper.gateway.results import attachment
from snyper.gateway.work_routes import key_reused

NPY = "application/x-npy"
_MB = 1_000_000
_PIECE_BYTES = 131_072
_PAGE = 1_000  # entries at once
_MAX_FIELDS = 20  # of a query
_SHOWN_CHARS = 100
_INDEX = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_UNNAMED = "array"


@asynccontextmanager
async def serving_arrays(gateway: Gateway, folder: Path) -> AsyncIterator[Store]:
    """Serve the arrays in `folder` for the block. Raises InUseError, OSError."""
    limits = gateway.limits
    store = Store(folder, Limits(limits["array_mb"] * _MB, limits["arrays"], limits["keep_free_mb"] * _MB))
    with closing(store):
        routes = _ArrayRoutes(store, Places(limits["places"], limits["hold_s"]))
        gateway.add("POST", "/upload", _shaped(routes.upload))
        gateway.add("GET", "/arrays", _shaped(routes.list))
        gateway.add("GET", "/array/{name:path}", _shaped(routes.get))
        gateway.add("DELETE", "/array/{name:path}", _shaped(routes.delete))
        gateway.add_state(lambda: {"status": "healthy", "arrays_stored": store.count})
        yield store


def _shaped(handler: Handler) -> Handler:
    """Return a handler whose errors have the shape that clients of arrays know."""

    async def serve(exchange: Exchange) -> None:
        exchange.error_of = lambda detail: {"status": "error", "message": detail}
        try:
            await handler(exchange)
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
    def __init__(self, store: Store, places: Places) -> None:
        self._store = store
        self._places = places

    async def upload(self, exchange: Exchange) -> None:
        """Store an array, which comes in a form or as it is. Raises Refusal, HungUp, NotTaken, NoRoom."""
        key = idempotency_key(exchange.header("idempotency-key"))
        async with self._places.one(exchange.address):
            part = self._store.new_part()
            try:
                entry = await self._receive(exchange, part, key)
            except OSError as error:
                raise disk_refusal(error) from error
            finally:
                part.unlink(missing_ok=True)
        head = entry.head
        await exchange.answer_json(
            {"status": "success", "shape": head.shape, "dtype": _type_name(head.dtype), "index": entry.index}
        )

    async def _receive(self, exchange: Exchange, part: Path, key: str) -> Entry:
        writer = ArrayWriter(part, self._store)
        most = self._store.limits.max_bytes
        media_type = exchange.header("content-type")
        query = _query(exchange)
        name = query.get("name", "")
        if media_type.partition(";")[0].strip().lower() in (NPY, OCTET_STREAM):
            async for content in exchange.body(most, "the array"):
                await writer.write(content)
            await writer.close()
        else:
            form = await read_form(exchange.body(most + OTHER_BYTES), media_type, "file", writer, most)
            name = form.texts.get("name") or name or form.filename or ""
        secret = sha256(f"{exchange.principal}\0{key}".encode()).hexdigest() if key else None
        upload = Upload(name_of(name), secret, writer.digest.hexdigest())
        return await asyncio.to_thread(self._store.add, part, writer.head, upload)

    async def list(self, exchange: Exchange) -> None:
        """Answer with all arrays, or a page of them. Raises Refusal, HungUp."""
        query = _query(exchange)
        if query.keys() & {"limit", "after"}:
            limit, after = _count(query, "limit", _PAGE), _count(query, "after", -1)
            with_previews = query.get("previews") in ("1", "true")
            await exchange.answer_json(await asyncio.to_thread(self._page, after, limit, with_previews))
            return
        await exchange.stream(self._all(), "application/json")

    def _page(self, after: int, limit: int, with_previews: bool) -> dict[str, object]:
        entries = self._store.page(after, limit)
        described = [_described(entry) for entry in entries]
        if with_previews and entries:
            previews = self._store.previews(entries[0].index, entries[-1].index)
            for one, entry in zip(described, entries, strict=True):
                preview = previews.get(entry.index)
                one["preview"] = None if preview is None else preview._asdict()
        last = entries[-1].index if len(entries) == limit else None
        return {"count": self._store.count, "arrays": described, "next": last}

    def _all(self) -> Iterator[bytes]:
        """Yield the JSON of the whole list, which has at its end how many it has: more may come meanwhile."""
        after, count = -1, 0
        yield b'{"arrays":['
        while entries := self._store.page(after, _PAGE):
            text = json.dumps([_shown(entry) for entry in entries], separators=(",", ":"))[1:-1]
            yield (("," if count else "") + text).encode()
            count += len(entries)
            after = entries[-1].index
        yield b'],"count":%d}' % count

    async def get(self, exchange: Exchange) -> None:
        """Answer with an array, or a slice of it. Raises Refusal, HungUp, NoSlice."""
        query = _query(exchange)
        entry, file = await asyncio.to_thread(self._open, exchange.path_values["name"])
        with file:
            head = entry.head
            selection = select(query["slice"], head.shape) if "slice" in query else whole(head.shape)
            if _wants_npy(exchange, query):
                await _send_npy(exchange, entry, file, selection)
            else:
                await _send_json(exchange, head, file, selection)

    async def delete(self, exchange: Exchange) -> None:
        """Delete an array. Raises Refusal."""
        index = await asyncio.to_thread(self._delete, exchange.path_values["name"])
        await exchange.answer_json({"status": "success", "index": index})

    def _open(self, text: str) -> tuple[Entry, BinaryIO]:
        entry = self._entry(text)
        try:
            return entry, self._store.path(entry.index).open("rb", buffering=0)
        except FileNotFoundError:  # deleted since, or by somebody else
            raise _missing(text) from None

    def _delete(self, text: str) -> int:
        entry = self._entry(text)
        if not self._store.delete(entry.index):
            raise _missing(text)
        return entry.index

    def _entry(self, text: str) -> Entry:
        """Return the array of an index or a name. Raises Refusal."""
        if _INDEX.fullmatch(text):
            entry = self._store.get(int(text))
        else:
            entry = self._store.find(_without_suffix(normalize("NFC", text)))
        if entry is None:
            raise _missing(text)
        return entry


def name_of(text: str) -> str:
    """Return the name of an array for what its sender calls it, or its file."""
    return _without_suffix(safe_name(text)) if text else _UNNAMED


def _without_suffix(name: str) -> str:
    """Return a name without `.npy`, unless it would be an index then."""
    stem = name[:-4] if name.lower().endswith(".npy") else name
    return stem if stem and not _INDEX.fullmatch(stem) else f"{stem}.npy"


async def _send_json(exchange: Exchange, head: Head, file: BinaryIO, selection: Selection) -> None:
    numbers = pieces(file, head, selection, encoding.PIECE_BYTES)
    parts = encoding.as_object(numbers, selection.shape, head.type)
    await exchange.stream(parts, "application/json")


async def _send_npy(exchange: Exchange, entry: Entry, file: BinaryIO, selection: Selection) -> None:
    def parts() -> Iterator[bytes]:
        yield begin
        for piece in pieces(file, *file_order(entry.head, selection), _PIECE_BYTES):
            yield piece.tobytes()

    head = Head(entry.head.dtype, selection.shape, entry.head.is_fortran)
    begin = head_bytes(head)
    headers = {"content-disposition": attachment(f"{entry.name.removesuffix('.npy')}.npy")}
    await exchange.stream(parts(), NPY, headers, len(begin) + head.file_bytes)


def _wants_npy(exchange: Exchange, query: dict[str, str]) -> bool:
    if "format" in query:
        if query["format"] not in ("npy", "json"):
            raise Refusal(HTTPStatus.BAD_REQUEST, "format is npy or json")
        return query["format"] == "npy"
    accepted = [one.partition(";")[0].strip().lower() for one in exchange.header("accept").split(",")]
    return NPY in accepted


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
    if _INDEX.fullmatch(text):
        if name == "after":
            return int(text)
        if 1 <= int(text) <= _PAGE:
            return int(text)
    what = "an index" if name == "after" else f"a number from 1 to {_PAGE}"
    raise Refusal(HTTPStatus.BAD_REQUEST, f"{name} is {what}, not {text[:_SHOWN_CHARS]!r}")


def _missing(text: str) -> Refusal:
    return Refusal(HTTPStatus.NOT_FOUND, f"there is no array {text[:_SHOWN_CHARS]}")


def _shown(entry: Entry) -> dict[str, object]:
    return {"index": entry.index, "shape": entry.head.shape, "dtype": _type_name(entry.head.dtype)}


def _described(entry: Entry) -> dict[str, object]:
    created = datetime.fromtimestamp(entry.created_s, UTC).isoformat(timespec="milliseconds")
    return {
        **_shown(entry),
        "name": entry.name,
        "bytes": entry.head.data_bytes,
        "created": created.replace("+00:00", "Z"),
    }


@lru_cache
def _type_name(dtype: str) -> str:
    return str(numpy.dtype(dtype))
