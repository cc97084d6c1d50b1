"""Requests as work: their files on the disk, their JSON parsed, and what tells whether two are the same."""

import hashlib
import json
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from snyper.device.inbox.limits import Limits
from snyper.device.inbox.names import safe_name, suffix_of
from snyper.device.serving.exchange import Exchange, Refusal
from snyper.device.serving.forms import OTHER_BYTES, FileWriter, read_form
from snyper.device.serving.requests import check_room, disk_refusal
from snyper.offload import bodies
from snyper.offload.bodies import taken_from
from snyper.offload.declarations import Kind, Service
from snyper.offload.work import InvalidInput, Work

FILE_NAME = "upload"
BODY_NAME = "body.json"
PARSED_HERE_BYTES = 262_144  # in 5 ms
DEFAULT_OPTIONS = "default"  # what a form says that leaves them out


@dataclass(frozen=True, slots=True)
class Upload:
    """Work that came, the digest of all that it is, and the type of its file."""

    work: Work
    digest: str
    media_type: str = ""


async def read_upload(exchange: Exchange, service: Service, limits: Limits, folder: Path) -> Upload:
    """Read what a service takes, its file into `folder`. Raises Refusal, HungUp, NoRoom."""
    read = _read_data if service.kind is Kind.DATA else _read_file
    try:
        return await read(exchange, service, limits, folder)
    except OSError as error:
        raise disk_refusal(error) from error


async def _read_file(exchange: Exchange, service: Service, limits: Limits, folder: Path) -> Upload:
    check_room(exchange, folder, limits, service.max_bytes)
    writer = FileWriter(folder / FILE_NAME, limits)
    parts = exchange.body(service.max_bytes + OTHER_BYTES)
    form = await read_form(parts, exchange.header("content-type"), service.field, writer, service.max_bytes)
    options = form.texts.get("options", DEFAULT_OPTIONS)
    about = (form.filename or "", form.media_type, options)
    return file_upload(service, folder, writer.digest.hexdigest(), *about)


def file_upload(
    service: Service, folder: Path, content_digest: str, filename: str, media_type: str, options: str
) -> Upload:
    """Make work of the file FILE_NAME in `folder`, whose sender calls it `filename`. Raises OSError."""
    filename = safe_name(filename)
    path = folder / FILE_NAME
    named = path.with_suffix(_plain_suffix(filename))
    if path.exists():
        path.rename(named)
    digest = hashlib.sha256(json.dumps([content_digest, filename, media_type, options]).encode())
    work = Work(service, folder, named, filename, options=options)
    return Upload(work, digest.hexdigest(), media_type)


def _plain_suffix(filename: str) -> str:
    """Return the suffix by which libraries tell what a file is; "" for one that could be anything."""
    suffix = suffix_of(filename)
    return suffix if suffix[1:].isascii() and suffix[1:].isalnum() and len(suffix) <= 16 else ""


async def _read_data(exchange: Exchange, service: Service, limits: Limits, folder: Path) -> Upload:
    """Read JSON. What is long is left to a worker to parse: it would hold up all others here."""
    content = bytearray()
    writer = None
    async for part in exchange.body(service.max_bytes):
        if writer is None:
            content += part
            if len(content) <= PARSED_HERE_BYTES:
                continue
            writer = FileWriter(folder / BODY_NAME, limits)
            part = bytes(content)
        await writer.write(part)
    if writer is not None:
        await writer.close()
        return Upload(Work(service, folder, folder / BODY_NAME), writer.digest.hexdigest())
    try:
        value, options = taken_from(service, content)
    except InvalidInput as error:
        raise _refusal_of(error) from None
    work = Work(service, folder, value=value, options=options)
    return Upload(work, hashlib.sha256(content).hexdigest())


def _refusal_of(error: InvalidInput) -> Refusal:
    is_json = not isinstance(error, bodies.NoJson)
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY if is_json else HTTPStatus.BAD_REQUEST, str(error))
