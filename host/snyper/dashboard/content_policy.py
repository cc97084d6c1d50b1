"""The content security policy: what a page may load, run and style itself with, and the files of its look."""

import hashlib
import secrets
from base64 import b64encode
from pathlib import Path

from starlette.responses import Response
from starlette.types import Scope

NONCE = "snyper.nonce"  # of the request, in its scope
_PATH = "/assets/"
_FILES = {"theme.css": "text/css", "page.js": "text/javascript"}
_HERE = Path(__file__).parent

# NiceGUI writes an empty style element into each page.
_EMPTY = "'sha256-" + b64encode(hashlib.sha256(b"").digest()).decode() + "'"


def new_nonce() -> str:
    """Return a number to be used once, by one response."""
    return secrets.token_urlsafe(18)


def content_policy(nonce: str) -> str:
    """Format the policy of a response. Everything comes from the dashboard itself, so a page that some day
    asks elsewhere is stopped by the browser. What is inline runs, or styles, only with the response's own
    nonce. NiceGUI's Vue compiles templates in the browser, which is what 'unsafe-eval' is for.
    """
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' 'nonce-{nonce}' 'unsafe-eval'",
            f"style-src 'self' 'nonce-{nonce}' {_EMPTY}",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'none'",
        )
    )


class Assets:
    """The files that give a page its look, which hold no secret: the page to sign in needs them, too."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, str]] = {}
        self.urls: dict[str, str] = {}
        for name, kind in _FILES.items():
            content = (_HERE / name).read_bytes()
            self.urls[name] = f"{_PATH}{hashlib.sha256(content).hexdigest()[:16]}/{name}"
            self._files[self.urls[name]] = (content, kind)

    @property
    def head(self) -> str:
        """What a page has in its head. The browser paints nothing before it has both."""
        style, script = self.urls["theme.css"], self.urls["page.js"]
        return f'<link rel="stylesheet" href="{style}"><script src="{script}"></script>'

    def response(self, scope: Scope) -> Response | None:
        """Return the file that is asked for, None where it is something else. Its name changes with it."""
        found = self._files.get(scope["path"])
        if found is None or scope["type"] != "http":
            return None
        content, kind = found
        return Response(
            content, media_type=kind, headers={"cache-control": "public, max-age=31536000, immutable"}
        )
