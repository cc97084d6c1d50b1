"""The guard: keys, how often one may guess them, and what pages of other sites may and may not do."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from http import HTTPStatus
from ipaddress import ip_address
from math import ceil
from typing import Any
from urllib.parse import urlsplit

from snyper.device import settings
from snyper.device.serving.exchange import App, Exchange, HungUp, Message, Receive, Refusal, Send, deny
from snyper.device.serving.throttle import LoginThrottle

OPEN_PATHS = ("/health", "/ready")
# RFC 6761, 6762 and 8375, and what ICANN and makers of routers keep for networks of one's own.
_LOCAL_NAMES = (".localhost", ".local", ".home.arpa", ".internal", ".lan")
_MAY_SEND = {
    "access-control-allow-methods": "GET, POST, PUT, DELETE, OPTIONS",
    "access-control-allow-headers": "authorization, content-type, idempotency-key",
    "access-control-allow-private-network": "true",
    "access-control-max-age": "600",
}


class Guard:
    """Lets requests through to `app` that come with one of `keys`, which are secrets by name; without any
    key, all that reach it by an address or a name of its own. It keeps out what a page of another site has a
    browser send.
    """

    def __init__(self, app: App, keys: Mapping[str, str], limits: Mapping[str, int]) -> None:
        self._app = app
        self._keys = {name: sha256(key.encode()).digest() for name, key in keys.items()}
        self._throttle = LoginThrottle(limits["guesses"], limits["guess_wait_s"])
        self._stall_s = limits["stall_s"]
        self._names = settings.host_names()
        self._open_paths = set(OPEN_PATHS)
        self._may_visit: Callable[[str, str], bool] = lambda path, origin: False
        self._more_keys: Callable[[bytes], str] | None = None
        self._is_confined: Callable[[str], bool] = lambda principal: False
        self._is_for_confined: Callable[[str], bool] = lambda path: False

    @property
    def has_keys(self) -> bool:
        """Whether it asks for a key."""
        return bool(self._keys) or self._more_keys is not None

    def take_more_keys(self, name_of: Callable[[bytes], str]) -> None:
        """Ask for a key, and take those too whose name `name_of` returns for their SHA-256, "" for none."""
        self._more_keys = name_of

    def confine(self, is_confined: Callable[[str], bool], is_for_them: Callable[[str], bool]) -> None:
        """Let keys of which `is_confined` says so by their name reach those paths alone of which
        `is_for_them` does: who serves them asks what a key may do there.
        """
        self._is_confined, self._is_for_confined = is_confined, is_for_them

    def is_confined(self, principal: str) -> bool:
        """Tell whether the key of that name reaches some paths alone."""
        return self._is_confined(principal)

    def leave_open(self, path: str) -> None:
        """Let requests for a path through without a key: who serves it asks for one with `admit`."""
        self._open_paths.add(path)

    def welcome(self, may_visit: Callable[[str, str], bool]) -> None:
        """Let pages of other sites use what `may_visit` says: it is given a path and the page's origin."""
        self._may_visit = may_visit

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            exchange = Exchange(scope, receive, send, self._stall_s)
            try:
                if self._is_visit(exchange) and scope["type"] == "http":
                    send = _readable_by(exchange.header("origin"), send)
                    exchange = Exchange(scope, receive, send, self._stall_s)
                    if scope["method"] == "OPTIONS":  # by which the browser asks; it sends no key
                        await exchange.answer_empty(HTTPStatus.NO_CONTENT, _MAY_SEND)
                        return
                principal = self._judge(exchange)
            except Refusal as refusal:
                if scope["type"] == "http":
                    with suppress(HungUp):
                        await exchange.refuse(refusal)
                else:
                    await deny(refusal, send)
                return
            scope.setdefault("state", {})["principal"] = principal
        await self._app(scope, receive, send)

    def _is_visit(self, exchange: Exchange) -> bool:
        """Return whether a page of another site sent this, which may do so. Raises Refusal."""
        host = exchange.header("host")
        if not self.has_keys and not _is_own_name(host, self._names):
            raise Refusal(
                HTTPStatus.FORBIDDEN,
                "without a key this answers to its address and to names of its own network: anybody may "
                f"have had this name point here: give it a key, or the name in {settings.HOST_NAMES}",
            )
        origin = exchange.header("origin")
        if _is_own_page(origin, host):
            return False
        if not self._may_visit(exchange.scope["path"], origin):
            raise Refusal(HTTPStatus.FORBIDDEN, "a page of another site sent this")
        return True

    def _judge(self, exchange: Exchange) -> str:
        """Return the name of the key that a request came with, "" for none. Raises Refusal."""
        given = exchange.header("authorization")
        path = exchange.scope["path"]
        if not given and path in self._open_paths:
            return ""
        scheme, _, key = given.partition(" ")
        principal = self.admit(
            key.strip().encode("latin-1") if scheme.lower() == "bearer" else b"", exchange.address
        )
        if self._is_confined(principal) and path not in OPEN_PATHS and not self._is_for_confined(path):
            raise Refusal(HTTPStatus.FORBIDDEN, f"the key {principal} is for other things than this")
        return principal

    def admit(self, key: bytes, address: str) -> str:
        """Return the name of a key that came from `address`, "" where none is asked for. Raises Refusal."""
        if not self.has_keys:
            return ""
        given = sha256(key).digest() if key else b""
        found = [name for name, key in self._keys.items() if hmac.compare_digest(given, key)]
        if not found and given and self._more_keys is not None:
            found = [name for name in [self._more_keys(given)] if name]
        if found:
            return found[0]
        if given:  # one without a key guesses nothing
            wait_s = self._throttle.begin(address, time.monotonic())
            if wait_s > 0:
                raise Refusal(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    "too many wrong keys came from this address",
                    {"retry-after": str(ceil(wait_s))},
                )
            self._throttle.end(address, False)
        raise Refusal(
            HTTPStatus.UNAUTHORIZED,
            "this needs a key: send it as `Authorization: Bearer KEY`" if not given else "the key is wrong",
            {"www-authenticate": "Bearer"},
        )


def _readable_by(origin: str, send: Send) -> Send:
    """Return a `send` whose answers a browser shows to a page of another site. No browser sends a key of its
    own accord, so what the page may see is what it could ask for itself.
    """

    async def send_to_page(message: Message) -> None:
        if message["type"] == "http.response.start":
            readable = [(b"access-control-allow-origin", origin.encode("latin-1")), (b"vary", b"origin")]
            message = {**message, "headers": [*message["headers"], *readable]}
        await send(message)

    return send_to_page


def _is_own_page(origin: str, host: str) -> bool:
    """Tell whether no browser sends this for another site."""
    if not origin:
        return True
    try:
        site = urlsplit(origin)
    except ValueError:  # no address at all, such as http://[
        return False
    return site.netloc.lower() == host.lower()


def _is_own_name(host: str, names: Sequence[str]) -> bool:
    """Tell whether no stranger can have had `host` point here: it is an address, of `names`, or no name of
    the internet. What sends none is no browser.
    """
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return False
    return "." not in name or name in names or name.endswith(_LOCAL_NAMES) or _is_ip(name)


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
