"""Ends of requests whose browser has gone: nobody's fault, and no traceback."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Said by starlette's BaseHTTPMiddleware, of which NiceGUI has two, where the page behind it saw that its
# browser had hung up, and answered nothing.
_NO_RESPONSE = "No response returned."


class HangUps:
    """The application `app`, whose requests may end without an answer once their browser has gone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        has_gone = False

        async def watched() -> Message:
            nonlocal has_gone
            message = await receive()
            has_gone = has_gone or message["type"] == "http.disconnect"
            return message

        try:
            await self._app(scope, watched, send)
        except RuntimeError as error:
            if not (has_gone and str(error) == _NO_RESPONSE):
                raise
