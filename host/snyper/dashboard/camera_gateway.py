"""The gateway with cameras, asked over HTTP: for JSON, and for what is passed on to a browser."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

import httpx

from snyper.device.connection import Connection
from snyper.system.text import harmless, one_line

TIMEOUT_S = 5.0
_MOST_BYTES = 24_000_000  # of an answer: a gateway's own limit is 16 MB and a record
_MOST_CONNECTIONS = 16
_MOST_CHARS = 200

Said = dict[str, Any]  # JSON
Fields = Mapping[str, str | int | float]


class GatewayFailed(Exception):
    """The gateway did not answer as it should; the message is a clause for people. `status` is what it
    answered, 0 where it did not.
    """

    def __init__(self, words: str, status: int = 0) -> None:
        super().__init__(words)
        self.status = status


class CameraGateway:
    """The gateway at a URL. The key to it is SNYPER_SERVICE_KEY. Raises ValueError for what is no URL,
    OSError for a file of certificates that is none.
    """

    def __init__(self, url: str) -> None:
        place = Connection(url)
        self.url, self.key = place.url, place.key
        self.tls = place.tls()
        authorization = {"authorization": f"Bearer {self.key}"} if self.key else {}
        self._http = httpx.AsyncClient(
            base_url=self.url,
            headers={"accept-encoding": "identity", **authorization},
            verify=self.tls if self.tls is not None else False,  # which http:// does not ask for
            trust_env=False,  # proxies there are for the web
            timeout=TIMEOUT_S,
            limits=httpx.Limits(max_connections=_MOST_CONNECTIONS),
        )

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def get(self, path: str, fields: Fields | None = None) -> Said:
        """Return the JSON object at a path. Raises GatewayFailed."""
        return await self._object("GET", path, fields)

    async def post(self, path: str, body: Said) -> Said:
        """Post a JSON object, and return the one that is answered. Raises GatewayFailed."""
        return await self._object("POST", path, None, body)

    @asynccontextmanager
    async def passing(self, path: str, fields: Fields | None = None) -> AsyncIterator[httpx.Response]:
        """Yield an answer whose content is still to be read. Raises GatewayFailed."""
        async with self._answer("GET", path, fields) as answer:
            yield answer

    async def _object(self, method: str, path: str, fields: Fields | None, body: Said | None = None) -> Said:
        try:
            async with asyncio.timeout(TIMEOUT_S), self._answer(method, path, fields, body) as answer:
                found = json.loads(await _content(answer))
        except TimeoutError:
            raise GatewayFailed(f"it does not answer within {TIMEOUT_S:g} s") from None
        except (ValueError, RecursionError):
            raise GatewayFailed("what it answers has no sense") from None
        if not isinstance(found, dict):
            raise GatewayFailed("what it answers has no sense")
        return found

    @asynccontextmanager
    async def _answer(
        self, method: str, path: str, fields: Fields | None, body: Said | None = None
    ) -> AsyncIterator[httpx.Response]:
        try:
            async with self._http.stream(method, path, params=fields, json=body) as answer:
                if answer.status_code != HTTPStatus.OK:
                    raise self._failure(answer.status_code, await _content(answer))
                yield answer
        except httpx.TimeoutException:
            raise GatewayFailed(f"it does not answer within {TIMEOUT_S:g} s") from None
        except httpx.ConnectError as error:
            reason = f": {short(str(error))}" if "certificate" in str(error).lower() else ""
            raise GatewayFailed(f"nobody answers there{reason}") from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise GatewayFailed(f"the connection broke off ({type(error).__name__})") from None

    def _failure(self, status: int, content: bytes) -> GatewayFailed:
        try:
            said = json.loads(content)
            words = said.get("message") or said.get("detail") or ""
        except (ValueError, RecursionError, AttributeError):
            words = ""
        why = short(str(words)) or f"it answers {status}"
        if status == HTTPStatus.UNAUTHORIZED:
            why = "it refuses the key in SNYPER_SERVICE_KEY" if self.key else "it wants a key"
            why += ": start the dashboard with one of its keys there"
        return GatewayFailed(why, status)


async def _content(answer: httpx.Response) -> bytes:
    content = bytearray()
    async for piece in answer.aiter_raw():
        content += piece
        if len(content) > _MOST_BYTES:
            raise GatewayFailed("what it answers is too long")
    return bytes(content)


def short(words: str) -> str:
    """Return words of others in one line that is not too long."""
    line = one_line(words[: 4 * _MOST_CHARS])
    return harmless(line if len(line) <= _MOST_CHARS else f"{line[:_MOST_CHARS]}…")
