"""Heads of requests in HTTP/1.1 (RFC 9112), of strangers. Pure."""

from __future__ import annotations

import re
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

from snyper.device.serving.exchange import Refusal

_TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_REQUEST = re.compile(rb"(" + _TOKEN + rb") ([!-~\x80-\xff]+) HTTP/([0-9])\.([0-9])")
_NAME = re.compile(_TOKEN)
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_MAX_DIGITS = 15


class Head(NamedTuple):
    """The head of a request. `length` is that of its body in bytes, None where that comes in chunks. `lasts`:
    its connection may have another request; `waits`: its body comes once it is asked for.
    """

    method: str
    path: str
    query: bytes
    fields: list[tuple[bytes, bytes]]
    length: int | None
    lasts: bool
    waits: bool


def parse_head(content: bytes) -> Head:
    """Parse a head, without the empty line behind it. Raises Refusal."""
    lines = content.split(b"\r\n")
    request = _REQUEST.fullmatch(lines[0])
    if request is None:
        raise _bad("the request has no line such as GET /health HTTP/1.1")
    method, target, major, minor = request.groups()
    if major != b"1":
        raise Refusal(HTTPStatus.HTTP_VERSION_NOT_SUPPORTED, "this speaks HTTP/1.1")
    fields = [_field(line) for line in lines[1:]]
    path, query = _split(target)
    is_old = minor == b"0"
    options = [word.strip().lower() for word in b",".join(_all(fields, b"connection")).split(b",")]
    length = _length(fields, is_old)
    return Head(
        method.decode(),
        path,
        query,
        fields,
        length,
        lasts=not is_old and b"close" not in options,
        waits=length != 0 and b"100-continue" in [one.lower() for one in _all(fields, b"expect")],
    )


def _field(line: bytes) -> tuple[bytes, bytes]:
    name, colon, value = line.partition(b":")
    if not colon or not _NAME.fullmatch(name) or _CONTROL.search(value):
        raise _bad("a line of the head is no field")
    return name.lower(), value.strip(b" \t")


def _split(target: bytes) -> tuple[str, bytes]:
    """Return the path of a target, decoded, and its query."""
    if not target.startswith(b"/"):  # of a proxy, or none at all
        try:
            parts = urlsplit(target)
        except ValueError:
            raise _bad("the address that is asked for is none") from None
        if parts.scheme.lower() not in (b"http", b"https"):
            raise _bad("the address that is asked for is none")
        target = (parts.path or b"/") + (b"?" + parts.query if parts.query else b"")
    path, _, query = target.partition(b"?")
    return unquote_to_bytes(path).decode("utf-8", "replace"), query


def _length(fields: list[tuple[bytes, bytes]], is_old: bool) -> int | None:
    """Return the length of the body, None for chunks. What two servers could read in two ways is refused."""
    codings, lengths = _all(fields, b"transfer-encoding"), set(_all(fields, b"content-length"))
    if codings:
        if lengths or is_old or len(codings) > 1:
            raise _bad("it says in two ways where the body ends")
        if codings[0].lower() != b"chunked":
            raise Refusal(HTTPStatus.NOT_IMPLEMENTED, "a body comes as it is, or in chunks")
        return None
    if len(lengths) > 1:
        raise _bad("it has two lengths")
    text = lengths.pop() if lengths else b"0"
    if not text.isdigit():
        raise _bad("Content-Length is no number")
    if len(text) > _MAX_DIGITS:
        raise Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the body is above any limit")
    return int(text)


def _all(fields: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for one, value in fields if one == name]


def _bad(why: str) -> Refusal:
    return Refusal(HTTPStatus.BAD_REQUEST, f"the request cannot be read: {why}")
