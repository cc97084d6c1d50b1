"""An inbox on the disk: a folder with what was received, and in it `.inbox`, with the rest.

    FOLDER/picture.jpg
    FOLDER/.inbox/records.sqlite3
    FOLDER/.inbox/parts/…        what is not complete yet
    FOLDER/.inbox/aside/…        what came through a hub, until it is said what it is

To be called by one thread at a time.
"""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import BinaryIO

from snyper.device.disk import lock, remove, shown, sync_folder
from snyper.device.inbox.limits import Limits, Mismatch, NoRoom
from snyper.device.inbox.names import safe_name
from snyper.device.inbox.records import Intent, Item, Records, Waiting
from snyper.device.inbox.taken_names import Names
from snyper.device.placing import is_placed, place

OWN_FOLDER = ".inbox"
FILE_RECEIVED = "file.received"
DATA_RECEIVED = "data.received"
RECORDS = "records.sqlite3"
_LOCK = "lock"


class InUseError(OSError):
    """Another process has the folder."""


class Store:
    """An inbox in `folder`, which is made where it is missing. What a process before this one had begun is
    carried through first. `handlers_of(kind)` are the names of those who are to get an event.

    Raises InUseError, OSError, sqlite3.Error.
    """

    def __init__(self, folder: Path, limits: Limits, handlers_of: Callable[[str], Sequence[str]]) -> None:
        self.folder = folder.resolve()
        self.parts = self.folder / OWN_FOLDER / "parts"
        self.aside = self.folder / OWN_FOLDER / "aside"
        self.limits = limits
        self._names = Names(self.folder)
        self.received = 0  # items, since this was opened
        self._handlers_of = handlers_of
        self._is_settled = False  # else a file is in the middle of getting its name
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.parts.parent.mkdir(mode=0o700, exist_ok=True)
            self.parts.mkdir(exist_ok=True)
            self.aside.mkdir(exist_ok=True)
        except OSError as error:
            raise OSError(f"nothing can be kept in {shown(self.folder)} ({error.strerror})") from error
        self._lock = _locked(self.parts.parent / _LOCK)
        try:
            self.records = Records(self.parts.parent / RECORDS)
            try:
                self._settle()
            except BaseException:
                self.records.close()
                raise
        except BaseException:
            self._lock.close()
            raise

    def close(self) -> None:
        """Let go of the folder."""
        self.records.close()
        self._lock.close()

    def new_part(self) -> Path:
        """Return where a file that comes in is to be written, on the disk of the folder."""
        return self.parts / secrets.token_urlsafe(24)

    def known(self, key: str, digest: str | None, length: int | None, filename: str) -> str | None:
        """Return the answer for what was received under `key` before, None where nothing was. Raises Mismatch
        for another item than that.
        """
        self._settle()
        item = self.records.item(key)
        if item is None:
            return None
        same = digest in (None, item.digest) and length in (None, item.length) and filename == item.filename
        if not same:
            raise Mismatch("something else was received under this Idempotency-Key before")
        return item.answer

    def keep_file(self, part: Path, key: str | None, digest: str, filename: str, content_type: str) -> str:
        """Give a part, which is complete and on the disk, its name; return its path. Raises Mismatch.

        With a key that is known nothing is kept, and the path is what it was then.
        """
        length = part.stat().st_size
        answer = None if key is None else self.known(key, digest, length, filename)
        if answer is not None:
            part.unlink()
            return answer
        self._settle()
        sync_folder(self.parts)
        self._is_settled = False
        path = self._carry_out(Intent(part.name, "", key, digest, length, filename, content_type))
        self._is_settled = True
        return path

    def discard(self, part: Path) -> None:
        """Remove a part, unless it is in the middle of getting its name."""
        if part.name not in [intent.part for intent in self.records.intents()]:
            remove(part)

    def keep_data(self, value: object, key: str | None, digest: str, length: int) -> None:
        """Keep a value of JSON for those who handle it. With a key that is known nothing is kept. Raises
        Mismatch, NoRoom.
        """
        if key is not None and self.known(key, digest, length, "") is not None:
            return
        self.check_room(length)
        waiting = self.waiting_for(DATA_RECEIVED, {"data": value})
        self.records.add_item(key, Item(digest, length, "", ""), waiting)
        self.received += 1

    def waiting_for(self, kind: str, data: object) -> list[Waiting]:
        """Return what is to wait because of an event, for each of its handlers."""
        text = json.dumps(data)
        return [(name, text) for name in self._handlers_of(kind)]

    def check_room(self, length: int) -> None:
        """Raise NoRoom where `length` more bytes, or one more event, have no place at present."""
        self.limits.check_room(self.folder, length)
        if self.records.waiting_count >= self.limits.max_waiting:
            raise NoRoom("those who handle what is received are too far behind at present")

    def remove_strays(self, known: set[str]) -> None:
        """Remove the parts that nobody can go on with: `known` are those of uploads."""
        for path in self.parts.iterdir():
            if path.name not in known:
                remove(path)

    def remove_expired(self) -> int:
        """Remove what lies aside and has had no byte for the longest time; return how many files."""
        oldest_s = time.time() - self.limits.max_age_s
        expired = [path for path in self.aside.iterdir() if path.stat().st_mtime < oldest_s]
        for path in expired:
            remove(path)
        return len(expired)

    def _carry_out(self, intent: Intent) -> str:
        part = self.parts / intent.part
        before = intent.name  # chosen by a process that died
        for name in chain([before] if before else (), self._names.free(safe_name(intent.filename))):
            intent = intent._replace(name=name)
            self.records.add_intent(intent)
            try:
                place(part, self.folder / name, is_again=name == before)
                self._names.add(name)
                break
            except FileExistsError:
                continue  # somebody was quicker
            except OSError:
                self.records.drop_intent(intent.part)
                raise
        return self._complete(intent)

    def _complete(self, intent: Intent) -> str:
        path = str(self.folder / intent.name)
        about = {"path": path, "filename": intent.filename, "content_type": intent.content_type}
        self.records.carry_out(intent, path, self.waiting_for(FILE_RECEIVED, about))
        remove(self.parts / intent.part)
        self.received += 1
        return path

    def _settle(self) -> None:
        """Carry through what was begun and not finished by a process that died, or as the disk failed."""
        if self._is_settled:
            return
        for intent in self.records.intents():
            if is_placed(self.parts / intent.part, self.folder / intent.name):
                self._complete(intent)
            else:
                self._carry_out(intent)
        self._is_settled = True


def _locked(path: Path) -> BinaryIO:
    """Open the file that one process at a time has locked. Raises InUseError."""
    file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT, 0o600), "r+b")
    if not lock(file.fileno(), waits=False):
        file.close()
        raise InUseError(f"another process receives into {shown(path.parent.parent)}: name another")
    return file
