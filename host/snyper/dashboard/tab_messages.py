"""Take messages of tabs: only of the kinds that a tab of ours sends, and only for its own page."""

import logging
from collections.abc import Awaitable, Callable
from typing import Any

from nicegui import app, core
from socketio.exceptions import ConnectionRefusedError  # type: ignore[import-untyped]

from snyper.dashboard.faults import log_fault
from snyper.dashboard.painter import record_click
from snyper.dashboard.tab_socket import END

_Handler = Callable[..., Any]


def guard() -> None:
    """Put the guard before NiceGUI's handlers. A tab that breaks a rule loses its connection. To be called
    once, before the server starts.
    """
    server = core.sio
    server.eio.transports = ["websocket"]  # no bodies, and what a tab may do ends with its connection
    for logger in (server.logger, server.eio.logger):  # they write what tabs send
        logger.setLevel(logging.CRITICAL)
    logging.getLogger("nicegui").setLevel(logging.ERROR)  # its warnings say what was asked for
    handlers: dict[str, _Handler] = server.handlers["/"]
    # A tab has nothing to write into the log, and is asked for no value.
    for name in ("log", "javascript_response"):
        handlers.pop(name, None)
    for name in ("event", "ack", "handshake"):
        handlers[name] = _guarded(server, name, handlers[name])
    handlers["connect"] = _connecting(handlers["connect"])
    app._exception_handlers[:] = [_on_exception]


def _on_exception(error: Exception) -> None:
    log_fault("a page failed", error)


def _guarded(server: Any, name: str, handler: _Handler) -> _Handler:
    async def guarded(sid: str, message: object = None, *_: object) -> Any:
        try:
            if not isinstance(message, dict):
                raise TypeError("no object")
            if name != "handshake" and message.get("client_id") not in server.rooms(sid):
                raise ValueError("a message for another page")
            if name == "event":
                record_click(str(message["client_id"]))
            return await _result(handler(sid, message))
        except Exception as error:
            log_fault("a tab breaks the rules and is cut off", error)
            server.get_environ(sid)["asgi.scope"][END].set()
            return False

    return guarded


def _connecting(handler: _Handler) -> _Handler:
    async def connect(sid: str, environ: dict[str, Any], auth: object = None) -> Any:
        try:
            return await _result(handler(sid, environ, auth))
        except ConnectionRefusedError:
            raise
        except Exception as error:
            log_fault("a tab does not say which page it is of", error)
            raise ConnectionRefusedError("which page?") from None

    return connect


async def _result(value: Any) -> Any:
    return await value if isinstance(value, Awaitable) else value
