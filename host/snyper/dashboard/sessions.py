"""The sessions of who has signed in."""

import asyncio
import secrets
import time

SESSION_S = 12 * 3600
MAX_SESSIONS = 100  # the oldest ends when there is another


class Session:
    """One person's, in all tabs of a browser. `tabs` has for each of them what ends it."""

    def __init__(self, now_s: float) -> None:
        self.token = secrets.token_urlsafe(32)
        self.until_s = now_s + SESSION_S
        self.tabs: set[asyncio.Event] = set()


class Sessions:
    """The sessions by their token, which is in the browser's cookie and nowhere else."""

    def __init__(self) -> None:
        self._sessions: dict[str, Session] = {}

    def begin(self) -> Session:
        """Begin a session, with a token that nobody had before."""
        now_s = time.monotonic()
        for session in list(self._sessions.values()):
            if session.until_s <= now_s:
                self.end(session.token)
        while len(self._sessions) >= MAX_SESSIONS:
            self.end(next(iter(self._sessions)))
        session = Session(now_s)
        self._sessions[session.token] = session
        asyncio.get_running_loop().call_later(SESSION_S, self.end, session.token)
        return session

    def find(self, token: str) -> Session | None:
        """Return the session of that token, None when there is none, or no more."""
        session = self._sessions.get(token)
        return session if session is not None and time.monotonic() < session.until_s else None

    def end(self, token: str) -> None:
        """End it, with every tab's socket. May be called again."""
        session = self._sessions.pop(token, None)
        if session is not None:
            for ended in session.tabs:
                ended.set()
