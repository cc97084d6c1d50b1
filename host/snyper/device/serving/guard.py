"""The guard: keys, how often one may guess them, and what pages of other sites may not do."""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from hashlib import sha256
from http import HTTPStatus
from ipaddress import ip_address
from math import ceil
from typing import Any
from urllib.parse import urlsplit

from snyper.device import settings
from snyper.device.serving.exchange import App, Exchange, HungUp, Receive, Refusal, Send, deny
from snyper.device.serving.throttle import LoginThrottle

OPEN_PATHS = ("/health", "/ready")
# RFC 6761, 6762 and 8375, and what ICANN and makers of routers keep for networks of one's own.
_LOCAL_NAMES = (".localhost", ".local", ".home.arpa", ".internal", ".lan")


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

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            exchange = Exchange(scope, receive, send, self._stall_s)
            try:
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

    def _judge(self, exchange: Exchange) -> str:
        """Return the name of the key that a request came with, "" for none. Raises Refusal."""
        host = exchange.header("host")
        if not self._keys and not _is_own_name(host, self._names):
            raise Refusal(
                HTTPStatus.FORBIDDEN,
                "without a key this answers to its address and to names of its own network: anybody may "
                f"have had this name point here: give it a key, or the name in {settings.HOST_NAMES}",
            )
        if not _is_own_page(exchange.header("origin"), host):
            raise Refusal(HTTPStatus.FORBIDDEN, "a page of another site sent this")
        is_open = exchange.scope["path"] in OPEN_PATHS and not exchange.header("authorization")
        if not self._keys or is_open:
            return ""
        scheme, _, token = exchange.header("authorization").partition(" ")
        given = sha256(token.strip().encode("latin-1")).digest() if scheme.lower() == "bearer" else b""
        found = [name for name, key in self._keys.items() if hmac.compare_digest(given, key)]
        if found:
            return found[0]
        if given:  # one without a key guesses nothing
            wait_s = self._throttle.begin(exchange.address, time.monotonic())
            if wait_s > 0:
                raise Refusal(
                    HTTPStatus.TOO_MANY_REQUESTS,
                    "too many wrong keys came from this address",
                    {"retry-after": str(ceil(wait_s))},
                )
            self._throttle.end(exchange.address, False)
        raise Refusal(
            HTTPStatus.UNAUTHORIZED,
            "this needs a key: send it as `Authorization: Bearer KEY`" if not given else "the key is wrong",
            {"www-authenticate": "Bearer"},
        )


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
