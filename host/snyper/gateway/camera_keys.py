"""The keys that a gateway has for its cameras: a file that may change while it runs."""

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from snyper.cameras.grants import SEND, Grant, Grants, read_keys
from snyper.system.still_file import POLL_S, StillFile
from snyper.system.text import one_line

_log = logging.getLogger("snyper")


class CameraKeys(Grants):
    """The keys in `file`, if it is there, and grants `given` beside: cameras by the name of the hub's device
    key that speaks for them too. Raises OSError, ValueError.
    """

    def __init__(self, file: Path, given: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__({})
        self._file = file
        self._given = given or {}
        self._names: dict[str, str] = {}
        self._revoked: set[str] = set()
        self._still = StillFile(file)
        self._still.has_changed()
        self._take(self._read())
        self.has_keys = bool(self._names)  # at the start: what is open then stays so

    def name_of(self, digest: bytes) -> str:
        """Return the name of the key with this SHA-256, "" for none."""
        return self._names.get(digest.hex(), "")

    async def watch(self, on_revoked: Callable[[Collection[str]], object]) -> None:
        """Look for changes of the file, until cancelled; `on_revoked` is told the names of those keys that
        are no more, or others now. A file that cannot be read changes nothing.
        """
        said = ""
        while True:
            await asyncio.sleep(POLL_S)
            try:
                revoked = await self.refresh()
            except (OSError, ValueError) as error:
                if str(error) != said:
                    _log.error("the keys are as they were: %s", error)
                said = str(error)
                continue
            if revoked:
                _log.warning("no longer among the keys: %s", one_line(", ".join(sorted(revoked))))
                on_revoked(revoked)

    async def refresh(self) -> Collection[str]:
        """Look at the file, and take a change once it is still; return the names of the keys that are revoked
        by it. Raises OSError, after which it is tried again; ValueError.
        """
        if not await asyncio.to_thread(self._still.has_changed):
            return ()
        return self._take(await asyncio.to_thread(self._read))

    def _read(self) -> dict[str, Grant]:
        """Return the grants by name. Raises OSError, ValueError."""
        content = b""
        with suppress(FileNotFoundError, NotADirectoryError):
            content = self._file.read_bytes()
        self._still.take()
        try:
            grants = read_keys(content.decode("utf-8")).resolved()
        except ValueError as error:  # UnicodeDecodeError is one
            raise ValueError(f"{self._file}: {error}") from None
        for name, cameras in self._given.items():
            grant = grants.get(name, Grant())
            scopes = {**grant.scopes, SEND: (*grant.scopes.get(SEND, ()), *cameras)}
            grants[name] = Grant(scopes, grant.digest)
        return grants

    def _take(self, grants: dict[str, Grant]) -> set[str]:
        """Judge by these grants from now on; return the names of those keys that are revoked by that."""
        names = {grant.digest: name for name, grant in grants.items() if grant.digest}
        revoked = {name for digest, name in self._names.items() if names.get(digest) != name}
        self._revoked |= revoked
        # Who came with a revoked key may be here still, and a name without a grant may do all.
        self.grants = {**{name: Grant() for name in self._revoked}, **grants}
        self._names = names
        return revoked
