"""The WebSocket of a tab: how much it may send, and until when."""

import asyncio
import time
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from snyper.dashboard.faults import TokenBucket
from snyper.dashboard.sessions import Session

END = "snyper.end"  # of the scope
_POLICY = 1008  # RFC 6455: it breaks the server's rules


async def serve_tab(
    app: ASGIApp, scope: Scope, receive: Receive, send: Send, session: Session | None, bucket: TokenBucket
) -> None:
    """Serve a tab with the ASGI app `app` until its session ends, where there is one, or the event END of the
    scope is set, or it sends bytes, or more messages than `bucket` has. What it sent before that, and nobody
    has read yet, is not carried out.
    """
    ended = scope[END] = asyncio.Event()
    ending = asyncio.ensure_future(ended.wait())
    if session is not None:
        session.tabs.add(ended)
    receiving: asyncio.Future[Any] | None = None

    async def receive_until_it_ends() -> Message:
        nonlocal receiving
        receiving = receiving or asyncio.ensure_future(receive())
        await asyncio.wait((receiving, ending), return_when=asyncio.FIRST_COMPLETED)
        message: Message = {} if ending.done() else receiving.result()
        is_received = message.get("type") == "websocket.receive"
        if not message or (is_received and not (message.get("text") and bucket.take(time.monotonic()))):
            await send({"type": "websocket.close", "code": _POLICY})
            return {"type": "websocket.disconnect", "code": _POLICY}
        receiving = None
        return message

    try:
        await app(scope, receive_until_it_ends, send)
    finally:
        if session is not None:
            session.tabs.discard(ended)
        for task in (ending, receiving):
            if task is not None:
                task.cancel()
