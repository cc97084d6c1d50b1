"""The sessions of who has signed in."""

import asyncio
import secrets
import time


class Session:
    """One person's, in all tabs of a browser. `tabs` has for each of them what ends it."""

    def __init__(self, until_s: float) -> None:
        self.token = secrets.token_urlsafe(32)
        self.until_s = until_s
        self.tabs: set[asyncio.Event] = set()


class Sessions:
    """The sessions by their token, which is in the browser's cookie and nowhere else."""

    def __init__(self, most: int, lasts_s: int) -> None:
        """When there is one more than `most` the oldest ends; each does after `lasts_s`."""
        self._most = most
        self.lasts_s = lasts_s
        self._sessions: dict[str, Session] = {}

    def begin(self) -> Session:
        """Begin a session, with a token that nobody had before."""
        now_s = time.monotonic()
        for session in list(self._sessions.values()):
            if session.until_s <= now_s:
                self.end(session.token)
        while len(self._sessions) >= self._most:
            self.end(next(iter(self._sessions)))
        session = Session(now_s + self.lasts_s)
        self._sessions[session.token] = session
        asyncio.get_running_loop().call_later(self.lasts_s, self.end, session.token)
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
