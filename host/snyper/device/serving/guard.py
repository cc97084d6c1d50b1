"""The guard: keys, how often one may guess them, and what pages of other sites may not do."""

from __future__ import annotations

import hmac
import time
from collections.abc import Mapping
from contextlib import suppress
from hashlib import sha256
from http import HTTPStatus
from ipaddress import ip_address
from math import ceil
from typing import Any
from urllib.parse import urlsplit

from snyper.device.serving.exchange import App, Exchange, HungUp, Receive, Refusal, Send, deny
from snyper.device.serving.throttle import LoginThrottle

OPEN_PATHS = ("/health", "/ready")


class Guard:
    """Lets requests through to `app` that come with one of `keys`, which are secrets by name; without any
    key, all. It keeps out what a page of another site has a browser send.
    """

    def __init__(self, app: App, keys: Mapping[str, str], limits: Mapping[str, int]) -> None:
        self._app = app
        self._keys = {name: sha256(key.encode()).digest() for name, key in keys.items()}
        self._throttle = LoginThrottle(limits["guesses"], limits["guess_wait_s"])
        self._stall_s = limits["stall_s"]

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
        if not _is_own_page(exchange.header("origin"), exchange.header("host"), bool(self._keys)):
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


def _is_own_page(origin: str, host: str, has_keys: bool) -> bool:
    """Tell whether no browser sends this for another site. Where there is no key, a name that an attacker has
    had point here is no site of ours either.
    """
    if not origin:
        return True
    try:
        site = urlsplit(origin)
    except ValueError:  # no address at all, such as http://[
        return False
    if site.netloc.lower() != host.lower():
        return False
    return has_keys or site.hostname == "localhost" or _is_ip(site.hostname or "")


def _is_ip(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
