"""An answer: its status, its JSON, or the file that it brings."""

import contextlib
import http.client
import json
import os
import re
import secrets
import ssl
from email.utils import parsedate_to_datetime
from html import unescape
from pathlib import Path
from typing import Any, Iterator, Optional
from urllib.parse import unquote

from snyper.device.errors import BadAnswer

# Of what is taken into memory: a device has some hundred megabytes.
JSON_BYTES = 32 * 1024 * 1024
MAX_RETRY_AFTER_S = 86_400.0  # a server that is wrong about it is asked again some time
_DETAIL_BYTES = 64 * 1024
_BLOCK_BYTES = 64 * 1024
_AS_IT_IS = getattr(os, "O_BINARY", 0)  # Windows would make two bytes of each end of a line

_TITLE = re.compile(r"<title[^>]*>([^<]{1,80})", re.IGNORECASE)
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,12}")


class Lost(Exception):
    """The connection was lost within an answer, for the reason that it has."""


class Answer:
    """An answer to a request, whose content is still to be read."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self.status = response.status

    @property
    def will_close(self) -> bool:
        """Whether the connection is over with this answer, or has more of it than was read."""
        return bool(self._response.will_close) or not self._response.isclosed()

    def header(self, name: str) -> Optional[str]:
        """Return the value of a header, or None."""
        return self._response.getheader(name)

    @property
    def is_json(self) -> bool:
        """Whether it says that it is JSON, and no file."""
        is_attachment = (self.header("Content-Disposition") or "").lstrip().lower().startswith("attachment")
        return "application/json" in (self.header("Content-Type") or "").lower() and not is_attachment

    @property
    def retry_after_s(self) -> Optional[float]:
        """The seconds after which the server wants to be asked again, at most a day (MAX_RETRY_AFTER_S), or
        None where it does not say.

        Where it says a date, that and the date of the answer are of one clock: the server's.
        """
        text = (self.header("Retry-After") or "").strip()
        if text.isascii() and text.isdigit():
            return min(float(text), MAX_RETRY_AFTER_S)
        try:
            until = parsedate_to_datetime(text)
            now = parsedate_to_datetime(self.header("Date") or "")
            return min(max(0.0, (until - now).total_seconds()), MAX_RETRY_AFTER_S)
        except (TypeError, ValueError, IndexError):
            return None

    def discard(self) -> "Answer":
        """Read the content, of which nothing is kept. Of one that is too long it leaves the rest."""
        self._begin()
        return self

    def value(self) -> Any:
        """Return the JSON that it is. Raises BadAnswer."""
        if self._is_page:
            raise BadAnswer(self._shown_page())
        content = b"".join(self.blocks(JSON_BYTES))
        try:
            return json.loads(content.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise BadAnswer(f"the answer is no JSON: {error}") from None

    def detail(self) -> str:
        """Return what the server says of an error: its `detail`, or the begin of its text. Of a page for
        people, as servers of another kind send them, it is who sends it and its title.
        """
        if 300 <= self.status < 400 and self.header("Location"):
            return f"it sends on to {self.header('Location')}: give the address of that"
        if self._is_page:
            return self._shown_page()
        text = self._begin().decode("utf-8", "replace")
        try:
            value = json.loads(text)
        except (ValueError, RecursionError):
            return text.strip()[:200]
        said = value.get("detail", value.get("message", value)) if isinstance(value, dict) else value
        return said if isinstance(said, str) else json.dumps(said)[:500]

    def save(self, folder: Path, name: str, max_bytes: int) -> Path:
        """Save the content as a new file in `folder`, whole or not at all, and return its path.

        Its suffix is that of the name that the server gives, else of `name`. Raises BadAnswer for one that is
        cut off, larger than `max_bytes`, or that does not say where it ends; OSError.
        """
        if self._response.length is None and not self._response.chunked:
            raise BadAnswer("the answer does not say how long it is")
        given = _filename_of(self.header("Content-Disposition") or "")
        suffix = _suffix_of(given) or _suffix_of(name)
        stem = re.sub(r"[^\w-]+", "_", Path(name).stem)[:64] or "result"
        token = secrets.token_hex(4)
        part = folder / f".snyper-{token}.part"
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _AS_IT_IS
            with os.fdopen(os.open(str(part), flags, 0o600), "wb") as file:  # results may be nobody else's
                for block in self.blocks(max_bytes):
                    file.write(block)
                file.flush()
                os.fsync(file.fileno())
            target = folder / f"{stem}-{token}{suffix}"
            part.replace(target)
        except BaseException:
            with contextlib.suppress(FileNotFoundError):
                part.unlink()
            raise
        return target

    def blocks(self, max_bytes: int) -> Iterator[bytes]:
        """Yield the content, all of it. Raises BadAnswer where it is larger, Lost where it is cut off."""
        if (self.header("Content-Encoding") or "identity").lower() != "identity":
            raise BadAnswer("the answer is packed, which was not asked for")
        taken = self._response.length or 0
        if taken <= max_bytes:
            taken = 0
            while True:
                block = self._read(_BLOCK_BYTES)
                taken += len(block)
                if not block or taken > max_bytes:
                    break
                yield block
        if taken > max_bytes:
            raise BadAnswer(f"the answer has more than {max_bytes} bytes")
        if self._response.length:  # a read of what was announced and never came returns what there is
            whole = taken + self._response.length
            raise Lost(f"the answer was cut off after {taken:,} of {whole:,} bytes: try again")

    @property
    def _is_page(self) -> bool:
        return "html" in (self.header("Content-Type") or "").lower()

    def _shown_page(self) -> str:
        found = _TITLE.search(self._begin().decode("utf-8", "replace"))
        title = f", {' '.join(unescape(found.group(1)).split())!r}" if found else ""
        server = self.header("Server") or "the server"
        return f"{server} answers with a web page{title}: check the address, and what is behind it"

    def _begin(self) -> bytes:
        """Read what the answer has, up to a limit, whatever becomes of the rest."""
        content = b""
        while len(content) < _DETAIL_BYTES:
            block = self._read(_DETAIL_BYTES - len(content))
            if not block:
                break
            content += block
        return content

    def _read(self, size: int) -> bytes:
        try:
            return self._response.read(size)
        except (OSError, http.client.HTTPException) as error:
            raise Lost(reason_of(error)) from error


def reason_of(error: BaseException) -> str:
    """Say in a few words what a connection was lost by."""
    if isinstance(error, ssl.SSLError) and error.reason == "WRONG_VERSION_NUMBER":
        return "no TLS is spoken there: is it http:// and not https://?"
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return f"the answer is no HTTP ({str(error) or type(error).__name__})"


def unanswered(is_tls: bool) -> str:
    """Say that a connection was lost before any answer, as one is where TLS is spoken to who speaks none."""
    return "the connection was lost" + (
        "" if is_tls else " before any answer: is it https:// and not http://?"
    )


def _filename_of(disposition: str) -> str:
    encoded = re.search(r"filename\*\s*=\s*utf-8''([^;\s]+)", disposition, re.IGNORECASE)
    if encoded:
        return unquote(encoded.group(1))
    plain = re.search(r'filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s]+))', disposition, re.IGNORECASE)
    return (plain.group(1) or plain.group(2) or "") if plain else ""


def _suffix_of(name: str) -> str:
    suffix = Path(name).suffix
    return suffix if _SUFFIX.fullmatch(suffix) else ""
