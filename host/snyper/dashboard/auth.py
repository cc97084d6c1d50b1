"""Authenticate whoever asks for anything that the dashboard serves: pages, files, WebSockets."""

import hashlib
import hmac
import secrets
import time
from collections.abc import Mapping
from html import escape
from http.cookies import CookieError, SimpleCookie
from urllib.parse import parse_qs, quote, urlsplit

from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from snyper.client.addresses import is_loopback
from snyper.dashboard import drawings
from snyper.dashboard.content_policy import NONCE, Assets, content_policy, new_nonce

SESSION_S = 12 * 3600
MAX_SESSIONS = 100
MAX_FORM_BYTES = 4_096
FREE_GUESSES = 5  # then each wrong one doubles the wait
MAX_WAIT_S = 300.0

_HEADERS = [
    (b"referrer-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
]


class LoginThrottle:
    """Throttles attempts to log in: `wait_s` is how long the next has to wait. One count for
    everybody: a guesser may have many addresses.
    """

    def __init__(self) -> None:
        self._wrong = 0
        self._next_s = 0.0

    def wait_s(self, now_s: float) -> float:
        return max(0.0, self._next_s - now_s)

    def record(self, right: bool, now_s: float) -> None:
        self._wrong = 0 if right else self._wrong + 1
        beyond = self._wrong - FREE_GUESSES
        self._next_s = now_s + min(MAX_WAIT_S, 2.0 ** min(beyond, 30)) if beyond >= 0 else 0.0


class AuthMiddleware:
    """Authenticate every request to the ASGI app `app`.

    With a `password`, nobody passes without a session; without one, only requests to this computer by its own
    name pass, so that no other page can reach it under a borrowed name.
    """

    def __init__(self, app: ASGIApp, password: str | None, port: int) -> None:
        self.app = app
        self._digest = hashlib.sha256(password.encode()).digest() if password else None
        self._cookie = f"snyper_{port}"  # browsers share cookies between the ports of a host
        self._sessions: dict[str, float] = {}
        self._throttle = LoginThrottle()
        self.assets = Assets()

    @property
    def asks_for_password(self) -> bool:
        """Whether a visitor must log in."""
        return self._digest is not None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        scope[NONCE] = new_nonce()
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        refusal = self._refusal(scope, headers)
        refusal = refusal or self.assets.response(scope)
        if refusal is None and scope["type"] == "http" and self.asks_for_password:
            if scope["path"] == "/login":
                refusal = await self._login(scope, headers, receive)
            elif scope["path"] == "/logout":
                refusal = self._logout(headers)
        if refusal is None and not self._has_session(headers):
            refusal = RedirectResponse("/login?next=" + quote(scope["path"]), 303)
        if refusal is None:
            await self.app(scope, receive, _with_headers(scope, send))
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await refusal(scope, receive, _with_headers(scope, send))

    def _refusal(self, scope: Scope, headers: Mapping[str, str]) -> Response | None:
        host = headers.get("host", "")
        if not self.asks_for_password and not is_loopback(urlsplit("//" + host).hostname or ""):
            return HTMLResponse("this dashboard is for 127.0.0.1 and localhost only", 403)
        if scope["type"] == "websocket" or scope["method"] not in ("GET", "HEAD"):
            origin = headers.get("origin")
            if origin is not None and urlsplit(origin).netloc != host:
                return HTMLResponse("this request comes from another site", 403)
        return None

    def _has_session(self, headers: Mapping[str, str]) -> bool:
        return not self.asks_for_password or self._sessions.get(self._token(headers), 0.0) > time.monotonic()

    def _token(self, headers: Mapping[str, str]) -> str:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return ""
        return morsel.value if morsel is not None else ""

    async def _login(self, scope: Scope, headers: Mapping[str, str], receive: Receive) -> Response:
        goal = _goal(parse_qs(scope["query_string"].decode("latin-1")).get("next", ["/"])[0])
        if scope["method"] != "POST":
            return RedirectResponse(goal, 303) if self._has_session(headers) else self._login_page(goal)
        now_s = time.monotonic()
        wait_s = self._throttle.wait_s(now_s)
        if wait_s:
            seconds = int(wait_s) + 1
            page = self._login_page(goal, f"Too many wrong passwords. Try again in {seconds} s.", 429)
            page.headers["retry-after"] = str(seconds)
            return page
        form = parse_qs(await _body(receive), encoding="utf-8", errors="replace")
        guess = form.get("password", [""])[0]
        assert self._digest is not None
        right = hmac.compare_digest(hashlib.sha256(guess.encode()).digest(), self._digest)
        self._throttle.record(right, now_s)
        if not right:
            return self._login_page(goal, "That is not the password.", 401)
        response = RedirectResponse(goal, 303)
        response.set_cookie(
            self._cookie, self._new_session(now_s), max_age=SESSION_S, httponly=True, samesite="lax"
        )
        return response

    def _login_page(self, goal: str, problem: str = "", status: int = 200) -> HTMLResponse:
        return login_page(self.assets.urls["theme.css"], goal, problem, status)

    def _logout(self, headers: Mapping[str, str]) -> Response:
        self._sessions.pop(self._token(headers), None)
        goodbye = RedirectResponse("/login", 303)
        goodbye.delete_cookie(self._cookie)
        return goodbye

    def _new_session(self, now_s: float) -> str:
        live = {token: until for token, until in self._sessions.items() if until > now_s}
        while len(live) >= MAX_SESSIONS:
            del live[min(live, key=lambda token: live[token])]
        token = secrets.token_urlsafe(32)
        self._sessions = {**live, token: now_s + SESSION_S}
        return token


def login_page(style_url: str, goal: str, problem: str = "", status: int = 200) -> HTMLResponse:
    """Build a plain form, without a script: nothing that a login guards is needed to log in."""
    alert = f'<p class="problem" role="alert">{escape(problem)}</p>' if problem else ""
    described = ' aria-invalid="true"' if problem else ""
    return HTMLResponse(
        f"""<!doctype html><html lang="en"><head><meta charset="utf-8"><title>SNYPER: sign in</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:image/svg+xml,{quote(drawings.FAVICON)}">
<link rel="stylesheet" href="{style_url}"></head>
<body class="signin"><main><form method="post" action="/login?next={quote(goal)}">
<div class="logo">{drawings.LOGO}<span>SNYPER</span></div>
<h1>Sign in to the range</h1><label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" required
 autofocus{described}>
{alert}<button class="button primary" type="submit">Sign in</button>
<p class="hint">Whoever started <code>snyper dashboard</code> chose it.</p></form></main></body></html>""",
        status,
        headers={"cache-control": "no-store"},
    )


def _goal(path: str) -> str:
    """Return where to go after signing in: a path of this site, never another's."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\", "/login")) else "/"


async def _body(receive: Receive) -> str:
    body = b""
    more = True
    while more and len(body) <= MAX_FORM_BYTES:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return body[:MAX_FORM_BYTES].decode("utf-8", "replace")


def _with_headers(scope: Scope, send: Send) -> Send:
    policy = (b"content-security-policy", content_policy(scope[NONCE]).encode())

    async def send_all(message: object) -> None:
        assert isinstance(message, dict)
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", []), policy, *_HEADERS]
        await send(message)

    return send_all
