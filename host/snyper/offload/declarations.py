"""The decorators that make a function a service: what it takes and gives, and what it may cost. Pure."""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, TypeVar, overload

F = TypeVar("F", bound=Callable[..., Any])

# As long as a small device may be made to wait for one answer, and more than its usual 30 s.
LIMIT_S = 300.0
MAX_FILE_BYTES = 2**30
MAX_IMAGE_BYTES = 64 * 2**20
MAX_DATA_BYTES = 16 * 2**20  # some ten times that once it is parsed

_ATTRIBUTE = "__snyper_service__"
_PATH = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")  # of RFC 3986 what means nothing else
_RESERVED = ("health", "ready", "jobs")  # first segments of paths that are not a service's


class Kind(StrEnum):
    """The kinds of services, by what they take: a file, JSON, or a picture."""

    FILE = "file"
    DATA = "data"
    IMAGE = "image"


@dataclass(frozen=True, slots=True)
class Service:
    """A function that is served, and what was declared of it."""

    name: str  # the function's, and its name on the link
    kind: Kind
    path: str
    field: str  # of the form, for a file; "" for data
    takes: str  # the key in the body, for data; "" for files
    gives: str  # the key in the answer, for data; "" for files
    media_type: str | None  # of a file that it gives; None for the upload's
    limit_s: float
    max_bytes: int  # of what it takes
    idempotent: bool  # may run again if its worker is lost
    takes_options: bool
    doc: str


@overload
def file_service(function: F, /) -> F: ...
@overload
def file_service(
    path: str = "/api/process/file",
    /,
    *,
    field: str = "file",
    media_type: str | None = None,
    limit_s: float = LIMIT_S,
    max_bytes: int = MAX_FILE_BYTES,
    idempotent: bool = False,
) -> Callable[[F], F]: ...
def file_service(path: Any = "/api/process/file", /, *, field: str = "file", **declared: Any) -> Any:
    """Serve a function that takes the path of a file that somebody sends.

    `field` is the form's field that the file comes in, `media_type` that of a file that the function gives:
    by default the upload's. It may give a Path or bytes, which go out as a file, or JSON. It is killed after
    `limit_s` seconds, and is not given more than `max_bytes`. If it has a parameter `options` it gets the
    form's field of that name there: text, "default" where there is none. Raises TypeError, ValueError for
    what cannot be declared so.
    """
    common = {"field": field, "media_type": None, "max_bytes": MAX_FILE_BYTES, **declared}
    return _declare(Kind.FILE, path, "/api/process/file", common)


@overload
def image_service(function: F, /) -> F: ...
@overload
def image_service(
    path: str = "/api/process/image",
    /,
    *,
    field: str = "image",
    media_type: str | None = "image/jpeg",
    limit_s: float = LIMIT_S,
    max_bytes: int = MAX_IMAGE_BYTES,
    idempotent: bool = False,
) -> Callable[[F], F]: ...
def image_service(path: Any = "/api/process/image", /, *, field: str = "image", **declared: Any) -> Any:
    """Serve a function that takes the path of a picture: as `file_service`, and gives a JPEG by default."""
    common = {"field": field, "media_type": "image/jpeg", "max_bytes": MAX_IMAGE_BYTES, **declared}
    return _declare(Kind.IMAGE, path, "/api/process/image", common)


@overload
def data_service(function: F, /) -> F: ...
@overload
def data_service(
    path: str = "/api/process/data",
    /,
    *,
    takes: str = "data",
    gives: str = "result",
    limit_s: float = LIMIT_S,
    max_bytes: int = MAX_DATA_BYTES,
    idempotent: bool = False,
) -> Callable[[F], F]: ...
def data_service(
    path: Any = "/api/process/data", /, *, takes: str = "data", gives: str = "result", **declared: Any
) -> Any:
    """Serve a function that takes what JSON can say, and gives such.

    A request is an object with the key `takes`, its answer one with the key `gives`. If the function has a
    parameter `options` it gets the object of that name, {} where there is none. It is killed after `limit_s`
    seconds; a request may have `max_bytes`. Raises TypeError, ValueError for what cannot be declared so.
    """
    common = {"takes": takes, "gives": gives, "max_bytes": MAX_DATA_BYTES, **declared}
    return _declare(Kind.DATA, path, "/api/process/data", common)


def service_of(function: object) -> Service | None:
    """Return what was declared of a function; None for all that is no service."""
    found = inspect.getattr_static(function, _ATTRIBUTE, None)
    return found if isinstance(found, Service) else None


def _declare(kind: Kind, path: object, default_path: str, declared: dict[str, Any]) -> Any:
    if callable(path):  # @data_service, without its parentheses
        return _mark(path, kind, default_path, declared)
    return lambda function: _mark(function, kind, path, declared)


def _mark(function: Any, kind: Kind, path: object, declared: dict[str, Any]) -> Any:
    name = getattr(function, "__name__", "")
    if not inspect.isroutine(function) or not name.isidentifier():
        raise TypeError(f"a service is a function with a name, not {function!r}")
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{name} yields: a service returns its result")
    defaults = {"field": "", "takes": "", "gives": "", "media_type": None}
    common = {**defaults, "limit_s": LIMIT_S, "idempotent": False, **declared}
    service = Service(
        name=name,
        kind=kind,
        path=_checked_path(name, path),
        takes_options=_takes_options(function, name),
        doc=inspect.getdoc(function) or "",
        **common,
    )
    _check(service)
    setattr(function, _ATTRIBUTE, service)
    return function


def _checked_path(name: str, path: object) -> str:
    if not isinstance(path, str):
        raise TypeError(f"the path of {name} is text such as '/api/analyze/sensors', not {path!r}")
    if not _PATH.fullmatch(path):
        raise ValueError(
            f"the path of {name} is '/' and a word, once or more, such as '/api/analyze', not {path!r}"
        )
    if path.split("/")[1] in _RESERVED:
        raise ValueError(f"{path!r} is a path of the server's own: choose another for {name}")
    return path


def _takes_options(function: Callable[..., object], name: str) -> bool:
    signature = inspect.signature(function)
    found = signature.parameters.get("options")
    takes = found is not None and found.kind in (found.POSITIONAL_OR_KEYWORD, found.KEYWORD_ONLY)
    try:
        if takes:
            signature.bind(None, options=None)
        else:
            signature.bind(None)
    except TypeError:
        raise TypeError(
            f"{name}{signature} is called with what was sent, and with `options` if it has a parameter of "
            "that name: it can need no other"
        ) from None
    return takes


def _check(service: Service) -> None:
    for what in ("field",) if service.kind is not Kind.DATA else ("takes", "gives"):
        word = getattr(service, what)
        if not isinstance(word, str) or not word or not word.isprintable() or '"' in word:
            raise ValueError(f"`{what}` of {service.name} is a name, not {word!r}")
        if word == "options" and what != "gives":
            raise ValueError(f"`{what}` of {service.name} cannot be 'options', which is there already")
    media_type = service.media_type
    if media_type is not None and not re.fullmatch(r"[\w.+-]+/[\w.+-]+", media_type):
        raise ValueError(f"`media_type` of {service.name} is one such as 'image/png', not {media_type!r}")
    limit_s = service.limit_s
    if not _is_number(limit_s) or not 0 < limit_s < float("inf"):
        raise ValueError(f"`limit_s` of {service.name} is a number of seconds above 0, not {limit_s!r}")
    max_bytes = service.max_bytes
    if type(max_bytes) is not int or max_bytes <= 0:
        raise ValueError(f"`max_bytes` of {service.name} is a number of bytes above 0, not {max_bytes!r}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
