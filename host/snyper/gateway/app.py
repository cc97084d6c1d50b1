"""The application of a gateway: Starlette's, and past it where a path says all."""

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager
from http import HTTPStatus
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Match, Route

from snyper.device.serving.application import Application
from snyper.device.serving.exchange import App, Handler, Refusal, deny, endpoint, nothing_at, wrong_method
from snyper.gateway.web_socket import SocketHandler, web_socket_endpoint

_WEB_SOCKET = "websocket"  # in the place of a method
_ARRAYS, _SIGNAL = "--arrays FOLDER", "--stream SOURCE/STREAM"
_SERVED_WITH = {"upload": _ARRAYS, "arrays": _ARRAYS, "array": _ARRAYS, "control": _SIGNAL, "ws": _SIGNAL}


class Gateway(Application):
    """An application whose faces may add to Starlette's `app` as well."""

    def __init__(self, limits: Mapping[str, int], keys: Mapping[str, str], lifespan: Any = None) -> None:
        self.app = Starlette(lifespan=lifespan, exception_handlers={HTTPException: _explain})
        self._found: dict[tuple[str, str], App] = {}
        self._waits: list[Callable[[], Coroutine[Any, Any, None]]] = []
        self.message_bytes: dict[str, int] = {}  # of a WebSocket's message, by its path, where not the limit
        super().__init__(limits, keys)

    def add(self, method: str, path: str, handler: Handler) -> None:
        """Serve a path, which may have names for some of its steps, such as `{id}`. `handler` answers an
        Exchange; it may raise Refusal and HungUp.
        """
        served: App = endpoint(handler, self.limits["stall_s"])
        self.app.router.routes.append(Route(path, _Endpoint(served), methods=[method]))
        if "{" not in path:
            self._found[method, path] = served

    def add_web_socket(self, path: str, handler: SocketHandler) -> None:
        """Serve a WebSocket at a path without values in it. `handler` accepts it; before that it may raise
        Refusal, and at any time HungUp.
        """
        self._found[_WEB_SOCKET, path] = web_socket_endpoint(handler)

    def add_app(self, path: str, app: App, message_bytes: int) -> None:
        """Serve WebSockets at a path by an ASGI application of its own, whose messages are larger."""
        self._found[_WEB_SOCKET, path] = app
        self.message_bytes[path] = message_bytes

    def on_drained(self, wait: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Have `wait` called when it drains: it returns once what came by another way than HTTP is over."""
        self._waits.append(wait)

    async def drained(self) -> None:
        """Wait until what came by other ways than HTTP is over. To be called once, when it drains."""
        await asyncio.gather(*(wait() for wait in self._waits))

    async def find(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request to who answers it: at once where its path says all, and past Starlette, which takes
        a tenth of the time of small work.
        """
        other = _no_web_socket if scope["type"] == _WEB_SOCKET else self.app
        served = self._found.get((scope.get("method", _WEB_SOCKET), scope.get("path", "")), other)
        await served(scope, receive, send)


Face = Callable[[Gateway], AbstractAsyncContextManager[object]]


class _Endpoint:
    """An ASGI application, to Starlette: a function would be given a request of its own."""

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await self._app(scope, receive, send)


async def _no_web_socket(scope: Any, receive: Any, send: Any) -> None:
    await deny(_nothing_at(scope["path"]), send)


def _nothing_at(path: str) -> Refusal:
    """Return what is said of a path that nothing is served at; of one that an option serves, which."""
    refusal = nothing_at(path)
    option = _SERVED_WITH.get(path.split("/")[1]) if path.startswith("/") else None
    if option is None:
        return refusal
    return Refusal(refusal.status, f"{refusal.detail}: `snyper gateway {option}` serves it")


async def _explain(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    refusal = Refusal(error.status_code, error.detail, error.headers)
    if refusal.status == HTTPStatus.NOT_FOUND:
        refusal = _nothing_at(request.url.path)
    elif refusal.status == HTTPStatus.METHOD_NOT_ALLOWED:
        refusal = wrong_method(", ".join(sorted(_methods_at(request))))
    return JSONResponse({"detail": refusal.detail}, refusal.status, dict(refusal.headers))


def _methods_at(request: Request) -> set[str]:
    """Return what a path takes: each method is a route of its own, and Starlette tells of the first alone."""
    methods: set[str] = set()
    for route in request.app.router.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] != Match.NONE:
            methods |= route.methods or set()
    return methods
