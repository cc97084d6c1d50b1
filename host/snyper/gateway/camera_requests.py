"""Requests about cameras: the conditions that they ask for, the shape of their errors."""

import re
from datetime import tzinfo
from http import HTTPStatus
from urllib.parse import parse_qs

from snyper.cameras.grants import Forbidden
from snyper.cameras.records import Malformed, MissingField, Overloaded, RecordQuery
from snyper.cameras.times import bound_of
from snyper.device.serving.exchange import Exchange, Handler, Refusal
from snyper.gateway.places import overloaded

_DEFAULT_LIMIT = 20
_MAX_LIMIT = 1_000
_MAX_DIGITS = 18
_MAX_FIELDS = 20  # of a query
_MAX_CURSOR = 2**63
_BLANK_FOR_PLUS = re.compile(r"([T ]\d\d[\d:.,]*) (?=\d\d:?\d\d$)")  # that was not escaped in a query


def shaped(handler: Handler) -> Handler:
    """Return a handler whose errors have the shape that clients of cameras know."""

    async def serve(exchange: Exchange) -> None:
        exchange.error_of = lambda detail: {"success": False, "message": detail}
        if any("\0" in value for value in exchange.path_values.values()):
            raise Refusal(HTTPStatus.NOT_FOUND, "there is nothing with a zero byte in its name")
        try:
            await handler(exchange)
        except Forbidden as error:
            raise Refusal(HTTPStatus.FORBIDDEN, str(error)) from None
        except (MissingField, Malformed) as error:
            raise Refusal(HTTPStatus.BAD_REQUEST, str(error)) from None
        except Overloaded as error:
            raise overloaded(str(error)) from None

    return serve


def fields_of(exchange: Exchange) -> dict[str, str]:
    """Return the fields of a request's query. Raises Malformed, also for what no database takes."""
    try:
        text = exchange.scope["query_string"].decode("latin-1")
        found = parse_qs(text, keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="replace")
    except ValueError:
        raise Malformed(f"a query has at most {_MAX_FIELDS} fields") from None
    if any("\0" in value for values in found.values() for value in values):
        raise Malformed("a query has no zero bytes")
    return {name: values[-1] for name, values in found.items()}


def record_query(fields: dict[str, str], zone: tzinfo) -> RecordQuery:
    """Return the records that a request asks for, by times that are read in `zone` where they name none.
    Raises Malformed.
    """
    after = fields.get("after")
    if after is not None and not (after.isdecimal() and after.isascii() and int(after) < _MAX_CURSOR):
        raise Malformed("after is the cursor of a record: a number")
    return RecordQuery(
        limit=limit_of(fields.get("limit", "")),
        after=None if after is None else int(after),
        before=fields.get("before"),
        camera_id=fields.get("camera_id") or None,
        checkpoint_id=fields.get("checkpoint_id") or None,
        plate=fields.get("plate") or None,
        from_s=time_of(fields, "from", zone),
        until_s=time_of(fields, "until", zone),
        class_name=fields.get("class") or None,
    )


def limit_of(text: str) -> int:
    """Return how many are asked for: as many as there may be for 0 and below, as existing servers read it.
    Raises Malformed.
    """
    number = _number_of(text) if text else _DEFAULT_LIMIT
    return min(number, _MAX_LIMIT) if number > 0 else _MAX_LIMIT


def most_of(text: str) -> int | None:
    """Return how many are asked for where there may be any number, None for all. Raises Malformed."""
    number = _number_of(text) if text else 0
    return number if number > 0 else None


def _number_of(text: str) -> int:
    try:
        return int(text[:_MAX_DIGITS])
    except ValueError:
        raise Malformed("limit is how many: a number") from None


def time_of(fields: dict[str, str], name: str, zone: tzinfo) -> float | None:
    """Return a time that is asked for, in `zone` where it names none; None where there is no such field.
    Raises Malformed.
    """
    if not fields.get(name):
        return None
    time_s = bound_of(_BLANK_FOR_PLUS.sub(r"\1+", fields[name]), zone)
    if time_s is None:
        raise Malformed(f"{name} is a time such as 2024-12-19T10:00:00Z")
    return time_s
