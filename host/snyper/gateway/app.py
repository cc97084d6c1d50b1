"""The application: what all of its faces have in common. A face serves one thing over HTTP."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from snyper.gateway.exchange import ACCEPT_ENCODING, App, Exchange, Handler, endpoint
from snyper.gateway.guard import Guard
from snyper.gateway.web_socket import SocketHandler, web_socket_endpoint

_SHOWN_CHARS = 200  # of a path that a stranger made up
_WEB_SOCKET = "websocket"  # in the place of a method

State = Mapping[str, object]


class Gateway:
    """An ASGI application, to which faces add what they serve. It speaks JSON, of errors too:
    `{"detail": …}`.
    """

    def __init__(self, limits: Mapping[str, int], keys: Mapping[str, str], lifespan: Any = None) -> None:
        self.limits = limits
        self.app = FastAPI(
            title="SNYPER", openapi_url=None, lifespan=lifespan, exception_handlers={HTTPException: _explain}
        )
        self.guarded = Guard(self._find, keys, limits)
        self._found: dict[tuple[str, str], App] = {}
        self._healths: list[Callable[[], State]] = []
        self._checks: list[Callable[[], Awaitable[State]]] = []
        self._drains: list[Callable[[], object]] = []
        self.add("GET", "/health", self._health)
        self.add("GET", "/ready", self._ready)

    def add(self, method: str, path: str, handler: Handler) -> None:
        """Serve a path. `handler` answers an Exchange; it may raise Refusal and HungUp."""
        served: App = endpoint(handler, self.limits["stall_s"])
        self.app.router.routes.append(Route(path, _Endpoint(served), methods=[method]))
        if "{" not in path:
            self._found[method, path] = served

    def add_web_socket(self, path: str, handler: SocketHandler) -> None:
        """Serve a WebSocket at a path without values in it. `handler` accepts it; before that it may raise
        Refusal, and at any time HungUp.
        """
        self._found[_WEB_SOCKET, path] = web_socket_endpoint(handler)

    def add_state(
        self, health: Callable[[], State], ready: Callable[[], Awaitable[State]] | None = None
    ) -> None:
        """Have `/health` tell what `health` returns, at once, and `/ready` what `ready` does, which raises
        Refusal for a face that cannot serve now.
        """
        self._healths.append(health)
        if ready is not None:
            self._checks.append(ready)

    def on_drain(self, callback: Callable[[], object]) -> None:
        """Have `callback` called once this process is to end: nothing more is to begin."""
        self._drains.append(callback)

    def drain(self) -> None:
        """Have every face begin nothing more."""
        for callback in self._drains:
            callback()

    async def _health(self, exchange: Exchange) -> None:
        await exchange.answer_json(_merged(health() for health in self._healths))

    async def _ready(self, exchange: Exchange) -> None:
        await exchange.answer_json(_merged([await ready() for ready in self._checks]))

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self.guarded(scope, receive, send)

    async def _find(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request to who answers it: at once where its path says all, and past FastAPI, which takes a
        tenth of the time of small work.
        """
        served = self._found.get((scope.get("method", _WEB_SOCKET), scope.get("path", "")), self.app)
        await served(scope, receive, send)


# One thing that a gateway serves, for a block: it adds its paths, what it tells of itself, and how it drains.
Face = Callable[[Gateway], AbstractAsyncContextManager[object]]


def _merged(states: Iterable[State]) -> State:
    """Return what all faces tell of themselves."""
    told: dict[str, object] = {"status": "ok"}
    for state in states:
        told.update(state)
    return told


class _Endpoint:
    """An ASGI application, to Starlette: a function would be given a request of its own."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


async def _explain(request: Request, error: HTTPException) -> JSONResponse:
    detail = {
        HTTPStatus.NOT_FOUND: f"there is nothing at {request.url.path[:_SHOWN_CHARS]}",
        HTTPStatus.METHOD_NOT_ALLOWED: "this path does not take that method",
    }.get(HTTPStatus(error.status_code), error.detail)
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:  # such as OPTIONS, by which a client asks for it
        headers["accept-encoding"] = ACCEPT_ENCODING
    return JSONResponse({"detail": detail}, error.status_code, headers)
