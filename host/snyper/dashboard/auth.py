"""Authenticate whoever asks for anything that the dashboard serves: pages, files, WebSockets."""

import asyncio
import hashlib
import hmac
import time
from collections.abc import Mapping
from html import escape
from http.cookies import CookieError, SimpleCookie
from urllib.parse import SplitResult, parse_qs, quote, urlsplit

from starlette.requests import ClientDisconnect
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from snyper.client.addresses import is_loopback
from snyper.dashboard import drawings
from snyper.dashboard.content_policy import NONCE, Assets, content_policy, new_nonce
from snyper.dashboard.faults import TokenBucket
from snyper.dashboard.sessions import Session, Sessions
from snyper.dashboard.tab_socket import serve_tab
from snyper.device.serving.throttle import LoginThrottle

MAX_FORM_BYTES = 4_096
JUDGE_S = 0.05  # for each wrong guess, one after the other, whoever guesses

_HEADERS = [
    (b"referrer-policy", b"same-origin"),
    (b"x-content-type-options", b"nosniff"),
]


class AuthMiddleware:
    """Authenticate every request to the ASGI app `app`.

    With a `password`, nobody passes without a session; without one, only requests to this computer by its own
    name pass, so that no other page can reach it under a borrowed name. What another site's page asks for is
    refused, whatever it is.
    """

    def __init__(
        self,
        app: ASGIApp,
        password: str | None,
        port: int,
        limits: Mapping[str, int],
        is_secure: bool = False,
    ) -> None:
        """`is_secure`: it is served by HTTPS, and so are its cookies."""
        self.app = app
        self.assets = Assets()
        self._digest = hashlib.sha256(password.encode()).digest() if password else None
        self._is_secure = is_secure
        # Browsers share cookies between the ports of a host. Under HTTPS its name lets no other host set it.
        self._cookie = f"{'__Host-' if is_secure else ''}snyper_{port}"
        self._limits = limits
        self._sessions = Sessions(limits["sessions"], limits["session_s"])
        self._throttle = LoginThrottle(limits["guesses"], limits["guess_wait_s"])
        self._judging = asyncio.Lock()

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
        session = self._sessions.find(self._token(headers))
        answer = self._refusal(scope, headers) or self.assets.response(scope)
        if answer is None and self.asks_for_password:
            answer = await self._answer(scope, headers, receive, session)
        if answer is not None and scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        elif answer is not None:
            await answer(scope, receive, _with_headers(scope, send))
        elif scope["type"] == "websocket":
            bucket = TokenBucket(self._limits["messages_per_s"], self._limits["messages_at_once"])
            await serve_tab(self.app, scope, receive, send, session, bucket)
        else:
            await self.app(scope, receive, _with_headers(scope, send))

    def _refusal(self, scope: Scope, headers: Mapping[str, str]) -> Response | None:
        host = headers.get("host", "")
        if not self.asks_for_password and not is_loopback(_split("//" + host).hostname or ""):
            return HTMLResponse("this dashboard is for 127.0.0.1 and localhost only", 403)
        if comes_from_another_site(headers):
            return HTMLResponse(_ELSEWHERE, 403)
        reads = scope["type"] == "websocket" or scope["method"] in ("GET", "HEAD")
        if not reads and (scope["method"], scope["path"]) not in (("POST", "/login"), ("POST", "/logout")):
            return HTMLResponse("there is nothing to be sent here", 405)
        return None

    async def _answer(
        self, scope: Scope, headers: Mapping[str, str], receive: Receive, session: Session | None
    ) -> Response | None:
        """Answer whoever signs in or out, or has to. None: who asks has signed in."""
        if scope["type"] == "http" and scope["path"] == "/login":
            goal = _goal(parse_qs(scope["query_string"].decode("latin-1")).get("next", ["/"])[0])
            if scope["method"] == "POST":
                return await self._login(scope, receive, goal)
            return self._login_page(goal) if session is None else RedirectResponse(goal, 303)
        if scope["type"] == "http" and (scope["method"], scope["path"]) == ("POST", "/logout"):
            return self._logout(session)
        return None if session is not None else RedirectResponse("/login?next=" + quote(scope["path"]), 303)

    def _token(self, headers: Mapping[str, str]) -> str:
        try:
            morsel = SimpleCookie(headers.get("cookie", "")).get(self._cookie)
        except CookieError:
            return ""
        return morsel.value if morsel is not None else ""

    async def _login(self, scope: Scope, receive: Receive, goal: str) -> Response:
        address = (scope["client"] or ("",))[0]
        wait_s = self._throttle.begin(address, time.monotonic())
        right: bool | None = None
        try:
            form = parse_qs(await _body(receive), encoding="utf-8", errors="replace")
            if wait_s:  # which was so before the guess came, and it stays unread
                seconds = int(wait_s) + 1
                page = self._login_page(goal, f"Too many wrong passwords. Try again in {seconds} s.", 429)
                page.headers["retry-after"] = str(seconds)
                return page
            right = await self._judge(form.get("password", [""])[0])
        except ClientDisconnect:
            return HTMLResponse("", 400)
        finally:
            if not wait_s:
                self._throttle.end(address, right)
        if not right:
            return self._login_page(goal, "That is not the password.", 401)
        response = RedirectResponse(goal, 303)
        response.set_cookie(
            self._cookie,
            self._sessions.begin().token,
            max_age=self._sessions.lasts_s,
            httponly=True,
            samesite="strict",
            secure=self._is_secure,
        )
        return response

    async def _judge(self, guess: str) -> bool:
        async with self._judging:
            assert self._digest is not None
            right = hmac.compare_digest(hashlib.sha256(guess.encode()).digest(), self._digest)
            if not right:
                await asyncio.sleep(JUDGE_S)
            return right

    def _login_page(self, goal: str, problem: str = "", status: int = 200) -> HTMLResponse:
        return login_page(self.assets.urls["theme.css"], goal, problem, status)

    def _logout(self, session: Session | None) -> Response:
        if session is not None:
            self._sessions.end(session.token)
        goodbye = RedirectResponse("/login", 303)
        goodbye.delete_cookie(self._cookie, httponly=True, samesite="strict", secure=self._is_secure)
        return goodbye


_ELSEWHERE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>SNYPER</title>
<p>Another site has sent you here. <a href="/">Open the dashboard</a></p>"""


def comes_from_another_site(headers: Mapping[str, str]) -> bool:
    """Tell whether another site's page asks, also one of another port of this host, or a link there. Browsers
    say it in `Sec-Fetch-Site` over HTTPS and on this computer, in `Origin` with what is sent and with
    WebSockets, else in `Referer`.
    """
    site = headers.get("sec-fetch-site")
    if site is not None and site not in ("same-origin", "none"):
        return True
    origin = headers.get("origin") or (headers.get("referer") if site is None else None)
    return origin is not None and _split(origin).netloc != headers.get("host", "")


def _split(url: str) -> SplitResult:
    try:
        return urlsplit(url)
    except ValueError:
        return SplitResult("", "", "", "", "")


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
    """Receive a form, as far as one may be long. Raises ClientDisconnect when it breaks off."""
    body = b""
    more = True
    while more and len(body) <= MAX_FORM_BYTES:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
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
