"""Requests to the dashboard whose browser has gone, through starlette's own middleware."""

import pytest
from starlette.middleware.base import BaseHTTPMiddleware, RequestResponseEndpoint
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from snyper.dashboard.hang_ups import HangUps

SCOPE: Scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b""}


class Passing(BaseHTTPMiddleware):
    """A middleware as NiceGUI has them."""

    async def dispatch(self, request: Request, call_next: RequestResponseEndpoint) -> Response:
        return await call_next(request)


async def serve(messages: list[Message]) -> None:
    async def silent(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()  # and answers nothing

    async def receive() -> Message:
        return messages.pop(0)

    async def send(message: Message) -> None:
        raise AssertionError(message)

    await HangUps(Passing(silent))(SCOPE, receive, send)


async def test_a_browser_that_has_gone_is_no_fault() -> None:
    await serve([{"type": "http.disconnect"}])


async def test_a_page_that_answers_nothing_is_one() -> None:
    with pytest.raises(RuntimeError, match="No response"):
        await serve([{"type": "http.request", "body": b"", "more_body": False}])
