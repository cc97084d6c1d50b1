"""The keys that a gateway has for its cameras: a file that may change while it runs."""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from snyper.cameras.grants import SEND, Grant, Grants, read_keys

_POLL_S = 0.5  # between two looks at the file
_log = logging.getLogger("snyper")


class CameraKeys(Grants):
    """The keys in `file`, if it is there, and grants `given` beside: cameras by the name of the hub's device
    key that speaks for them too. Raises OSError, ValueError.
    """

    def __init__(self, file: Path, given: Mapping[str, Sequence[str]] | None = None) -> None:
        super().__init__({})
        self._file = file
        self._given = given or {}
        self._stamp: object = None
        self._names: dict[str, str] = {}
        self._load()
        self.has_keys = bool(self._names)  # at the start: what is open then stays so

    def name_of(self, digest: bytes) -> str:
        """Return the name of the key with this SHA-256, "" for none."""
        return self._names.get(digest.hex(), "")

    def is_known(self, name: str) -> bool:
        """Tell whether there is a key of that name in the file."""
        return name in self._names.values()

    async def watch(self, on_change: Callable[[], object]) -> None:
        """Look for changes of the file, until cancelled. One that cannot be read changes nothing."""
        while True:
            await asyncio.sleep(_POLL_S)
            try:
                if await asyncio.to_thread(self._load):
                    on_change()
            except (OSError, ValueError) as error:
                _log.error("the keys are as they were: %s", error)

    def _load(self) -> bool:
        """Read the file where it is another than before, and tell whether it was."""
        try:
            found = self._file.stat()
            stamp: object = (found.st_mtime_ns, found.st_size, found.st_ino)
        except (FileNotFoundError, NotADirectoryError):
            stamp = "none"
        if stamp == self._stamp:
            return False
        content = b"" if stamp == "none" else self._file.read_bytes()  # where that fails it is tried again
        self._stamp = stamp
        try:
            grants = read_keys(content.decode("utf-8")).resolved()
        except ValueError as error:  # UnicodeDecodeError is one
            raise ValueError(f"{self._file}: {error}") from None
        names = {grant.digest: name for name, grant in grants.items() if grant.digest}
        for name, cameras in self._given.items():
            grant = grants.get(name, Grant())
            scopes = {**grant.scopes, SEND: (*grant.scopes.get(SEND, ()), *cameras)}
            grants[name] = Grant(scopes, grant.digest)
        self.grants, self._names = grants, names
        return True
