"""The application: paths and who answers them, with what all that serve HTTP here have in common."""

from __future__ import annotations

from typing import Any, Awaitable, Callable, Iterable, Mapping

from snyper.device.serving.exchange import (
    App,
    Exchange,
    Handler,
    Receive,
    Refusal,
    Send,
    endpoint,
    nothing_at,
    wrong_method,
)
from snyper.device.serving.guard import Guard

State = Mapping[str, object]


class Application:
    """An ASGI application, to which faces add what they serve. It speaks JSON, of errors too:
    `{"detail": …}`.

    `keys` are secrets by name, of which a request has to bring one; without any it asks for none.
    """

    def __init__(self, limits: Mapping[str, int], keys: Mapping[str, str]) -> None:
        self.limits = limits
        self.guard = Guard(self.find, keys, limits)
        self._served: dict[str, dict[str, App]] = {}  # by path and method
        self._healths: list[Callable[[], State]] = []
        self._checks: list[Callable[[], Awaitable[State]]] = []
        self._drains: list[Callable[[], object]] = []
        self.add("GET", "/health", self._health)
        self.add("GET", "/ready", self._ready)

    def add(self, method: str, path: str, handler: Handler) -> None:
        """Serve a path, whose last step may be a name for any, such as `{id}`. `handler` answers an Exchange;
        it may raise Refusal and HungUp.
        """
        self._served.setdefault(path, {})[method] = endpoint(handler, self.limits["stall_s"])

    def add_state(
        self, health: Callable[[], State], ready: Callable[[], Awaitable[State]] | None = None
    ) -> None:
        """Have `/health` tell what `health` returns, at once, and `/ready` what `ready` does, which raises
        Refusal for a face that cannot serve now. Who brings none of the keys, or one that is confined, hears
        the status alone.
        """
        self._healths.append(health)
        if ready is not None:
            self._checks.append(ready)

    def health(self) -> State:
        """Return what all faces tell of themselves."""
        return _merged(health() for health in self._healths)

    def on_drain(self, callback: Callable[[], object]) -> None:
        """Have `callback` called once this process is to end: nothing more is to begin."""
        self._drains.append(callback)

    def drain(self) -> None:
        """Have every face begin nothing more."""
        for callback in self._drains:
            callback()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        await self.guard(scope, receive, send)

    async def find(self, scope: Any, receive: Receive, send: Send) -> None:
        """Pass a request that may be served to who answers it."""
        path, method = scope["path"], scope["method"]
        methods = self._served.get(path)
        if methods is None:
            folder, _, last = path.rpartition("/")
            for served, methods_there in self._served.items():
                named_folder, _, name = served.rpartition("/")
                if named_folder == folder and name.startswith("{") and last:
                    scope["path_params"] = {name[1:-1]: last}
                    methods = methods_there
        if methods is None:
            await self._refuse(nothing_at(path), scope, receive, send)
            return
        served_by = methods.get(method, methods.get("GET") if method == "HEAD" else None)
        if served_by is None:
            await self._refuse(wrong_method(", ".join(methods)), scope, receive, send)
        else:
            await served_by(scope, receive, send)

    async def _refuse(self, refusal: Refusal, scope: Any, receive: Receive, send: Send) -> None:
        async def handler(exchange: Exchange) -> None:
            raise refusal

        await endpoint(handler, self.limits["stall_s"])(scope, receive, send)

    async def _health(self, exchange: Exchange) -> None:
        await self._tell(exchange, (health() for health in self._healths))

    async def _ready(self, exchange: Exchange) -> None:
        await self._tell(exchange, [await ready() for ready in self._checks])

    async def _tell(self, exchange: Exchange, states: Iterable[State]) -> None:
        is_stranger = self.guard.has_keys and not exchange.principal
        is_stranger = is_stranger or self.guard.is_confined(exchange.principal)
        await exchange.answer_json(_merged(() if is_stranger else states))


def _merged(states: Iterable[State]) -> State:
    """Return what all faces tell of themselves."""
    told: dict[str, object] = {"status": "ok"}
    for state in states:
        told.update(state)
    return told
