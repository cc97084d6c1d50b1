"""An outbox: a folder of what is to be sent when its receiver is there again, in the order in which it came.

    waiting/000000000012-2048-<id>/    item.json, payload
    failed/000000000007-512-<id>/      the same, and reason.json
    new/                               what is being added or removed; what a cut has left in it goes
    status.json                        how the last delivery went
    adding.lock, sending.lock          held by whoever does that

A name has its number in the order, its size in bytes, and the id by which its receiver knows it again. A
folder is renamed into `waiting`, or out of it, in one step: what has a name there is whole. No clock decides
anything.
"""

import contextlib
import json
import os
import re
import shutil
import time
import uuid
from pathlib import Path
from typing import Any, BinaryIO, Callable, Dict, Iterator, List, NamedTuple, Optional, Union

from snyper.device import settings
from snyper.device.disk import lock, sync_folder
from snyper.device.errors import FileChanged, OutboxFull, OutboxLocked
from snyper.device.multipart import SentFile
from snyper.device.push import DATA_ENDPOINT, FILE_ENDPOINT
from snyper.device.sending import json_bytes

# A day of a reading a minute, several times over; and what a device's card can spare.
MAX_ITEMS = 10_000
MAX_BYTES = 256 * 1024 * 1024

_BLOCK_BYTES = 256 * 1024
_AS_IT_IS = getattr(os, "O_BINARY", 0)  # Windows would make two bytes of each end of a line
# Kinds of items.
FILE = "file"
DATA = "data"
DAMAGED = "damaged"

_NAME = re.compile(r"\d{12}-\d+-[0-9a-f]{32}")
_ITEM = "item.json"
_REASON = "reason.json"
_PAYLOAD = "payload"


class Item(NamedTuple):
    """A thing to be sent. `reason` is why it was refused, of one that was; `added` is the clock's, in
    seconds.
    """

    folder: Path
    number: int
    size: int
    id: str
    kind: str
    endpoint: str
    field: str
    filename: str
    fields: Dict[str, str]
    added: float
    changed_ns: int  # the payload's own time of change, where it is a link to somebody's file, else 0
    reason: str

    @property
    def payload(self) -> Path:
        """The file that is sent, or the JSON."""
        return self.folder / _PAYLOAD

    def check(self) -> None:
        """Check that the payload is what was added. Raises FileChanged, OSError."""
        found = self.payload.stat()
        if found.st_size != self.size or self.changed_ns not in (0, found.st_mtime_ns):
            raise FileChanged("the file was changed after it was added")


class Outbox:
    """The outbox in a folder, which left out is SNYPER_OUTBOX, and is made with the first item.

    It takes `max_items`, and `max_bytes` of what is to be sent; what was refused counts until it is
    discarded. Many processes may add to it at the same time.
    """

    def __init__(
        self,
        folder: Union[str, Path, None] = None,
        max_items: int = MAX_ITEMS,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self.folder = settings.outbox_folder() if folder is None else Path(folder)
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._waiting = self.folder / "waiting"
        self._failed = self.folder / "failed"
        self._new = self.folder / "new"
        self._status = self.folder / "status.json"

    def add_file(
        self,
        path: Union[str, Path],
        endpoint: str = FILE_ENDPOINT,
        field: str = "file",
        fields: Optional[Dict[str, str]] = None,
        link: bool = False,
    ) -> Item:
        """Add a copy of a file, as it is now; with `link` the file itself, where the outbox is on the same
        disk. A linked file is not to be changed any more.

        When this returns, the item is on the disk. Raises OutboxFull; FileChanged; OSError and ValueError for
        a file that cannot be read.
        """
        path = Path(path)
        with SentFile(path) as file:
            about = _about(FILE, endpoint, field, path.name, fields or {})

            def write(payload: Path) -> None:
                if link and _link(path, payload):
                    about["changed_ns"] = payload.stat().st_mtime_ns
                else:
                    _write_file(payload, file)

            return self._add(about, file.size, write)

    def add_data(self, data: object, endpoint: str = DATA_ENDPOINT) -> Item:
        """Add JSON, which goes as `{"data": …}`.

        When this returns, the item is on the disk. Raises OutboxFull; TypeError and ValueError for what JSON
        has no value for; OSError.
        """
        text = json_bytes({"data": data})

        def write(payload: Path) -> None:
            with _writing(payload) as file:
                file.write(text)

        return self._add(_about(DATA, endpoint, "", "", {}), len(text), write)

    def waiting(self) -> List[Item]:
        """Return what waits, in the order in which it is sent."""
        return _items_in(self._waiting)

    def count(self) -> int:
        """Count what waits."""
        return len(_names_in(self._waiting))

    def failed(self) -> List[Item]:
        """Return what was refused, each with its reason."""
        return _items_in(self._failed)

    def status(self) -> Dict[str, Any]:
        """Return how the last delivery went: its `state` (`delivering`, `away`, `paused`) and `why`."""
        try:
            found = json.loads(self._status.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            found = {}
        return found if isinstance(found, dict) else {}

    def in_order(self) -> Iterator[Item]:
        """Yield what waits, one after the other, and what comes meanwhile, until nothing waits. Whoever takes
        an item removes it.
        """
        names = _names_in(self._waiting)
        while names:
            for name in names:
                item = _read(self._waiting / name)
                if item is not None:
                    yield item
            names = _names_in(self._waiting)

    def retry(self, item_id: Optional[str] = None) -> int:
        """Have what was refused sent again at its old place: that item, or all. Return how many."""
        with self._locked():
            found = [one for one in self.failed() if item_id in (None, one.id)]
            for item in found:
                with contextlib.suppress(FileNotFoundError):
                    (item.folder / _REASON).unlink()
                item.folder.rename(self._waiting / item.folder.name)
            sync_folder(self._waiting)
        return len(found)

    def discard(self, item_id: str) -> bool:
        """Throw away what was refused, or what waits and is not being sent. Tell whether it was there."""
        with self._locked():
            for item in self.failed() + self.waiting():
                if item.id == item_id:
                    self._throw_away(item)
                    return True
        return False

    def remove(self, item: Item) -> None:
        """Take out what its receiver has."""
        with self._locked():
            self._throw_away(item)

    def refuse(self, item: Item, reason: str) -> bool:
        """Put what its receiver refuses aside, with the reason. Tell whether it was still there."""
        with self._locked():
            if not item.folder.is_dir():
                return False
            _write_json(item.folder, _REASON, {"reason": reason})
            item.folder.rename(self._failed / item.folder.name)
            sync_folder(self._waiting)
            sync_folder(self._failed)
        return True

    def record_status(self, state: str, why: str = "") -> None:
        """Keep how a delivery goes, for whoever looks."""
        now = self.status()
        if self.folder.is_dir() and (now.get("state"), now.get("why")) != (state, why):
            _write_json(self.folder, self._status.name, {"state": state, "why": why, "at": time.time()})

    @contextlib.contextmanager
    def sending(self) -> Iterator[None]:
        """Be the one process that delivers, for a block. Raises OutboxLocked where another one is."""
        self._make()
        with (self.folder / "sending.lock").open("ab") as file:
            if not lock(file.fileno(), waits=False):
                raise OutboxLocked(f"another process delivers from {self.folder}")
            with self._locked():
                pass  # what a cut has left is cleared away
            yield

    def _add(self, about: Dict[str, Any], size: int, write: Callable[[Path], None]) -> Item:
        with self._locked():
            names = _names_in(self._waiting) + _names_in(self._failed)
            sizes = sum(int(name.split("-")[1]) for name in names)
            if len(names) >= self._max_items or sizes + size > self._max_bytes:
                raise OutboxFull(
                    f"the outbox is full: it has {len(names)} items of {self._max_items} and {sizes} bytes of"
                    f" {self._max_bytes}, and takes no {size} bytes more"
                )
            numbers = [int(name.split("-")[0]) for name in names]
            name = f"{max(numbers, default=0) + 1:012d}-{size}-{uuid.uuid4().hex}"
            made = self._new / name
            made.mkdir(mode=0o700)
            write(made / _PAYLOAD)
            _write_json(made, _ITEM, about)
            made.rename(self._waiting / name)
            sync_folder(self._waiting)
            return _item_of(self._waiting / name, about)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Be the only one that changes the folders, and clear away what a cut has left."""
        self._make()
        with (self.folder / "adding.lock").open("ab") as file:
            lock(file.fileno(), waits=True)
            _clear(self._new)
            try:
                yield
            finally:
                _clear(self._new)

    def _make(self) -> None:
        for folder in (self._waiting, self._failed, self._new):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def _throw_away(self, item: Item) -> None:
        """Take it out in one step; what is left of it goes with the end of the lock."""
        with contextlib.suppress(FileNotFoundError):  # somebody was faster
            item.folder.rename(self._new / item.folder.name)
            sync_folder(item.folder.parent)


def as_json(outbox: Outbox) -> Dict[str, Any]:
    """Return what is in an outbox, for programs."""

    def shown(item: Item) -> Dict[str, Any]:
        return {
            "id": item.id,
            "kind": item.kind,
            "filename": item.filename,
            "endpoint": item.endpoint,
            "size": item.size,
            "added": item.added,
            "reason": item.reason,
        }

    return {
        "waiting": [shown(item) for item in outbox.waiting()],
        "failed": [shown(item) for item in outbox.failed()],
        "status": outbox.status(),
    }


def _about(kind: str, endpoint: str, field: str, filename: str, fields: Dict[str, str]) -> Dict[str, Any]:
    return {
        "kind": kind,
        "endpoint": endpoint,
        "field": field,
        "filename": filename.encode("utf-8", "replace").decode("utf-8"),
        "fields": fields,
        "added": time.time(),
        "changed_ns": 0,
    }


def _item_of(folder: Path, about: Dict[str, Any], reason: str = "") -> Item:
    number, size, item_id = folder.name.split("-")
    return Item(
        *(folder, int(number), int(size), item_id, str(about["kind"]), str(about["endpoint"])),
        *(str(about["field"]), str(about["filename"]), dict(about["fields"]), float(about["added"])),
        *(int(about["changed_ns"]), reason),
    )


def _names_in(folder: Path) -> List[str]:
    """Return the names of items there, in their order."""
    try:
        with os.scandir(folder) as found:
            return sorted(one.name for one in found if _NAME.fullmatch(one.name))
    except FileNotFoundError:
        return []


def _items_in(folder: Path) -> List[Item]:
    read = (_read(folder / name) for name in _names_in(folder))
    return [item for item in read if item is not None]


def _read(folder: Path) -> Optional[Item]:
    """Return an item, or None for one that has just gone."""
    try:
        about = json.loads((folder / _ITEM).read_text(encoding="utf-8"))
        item = _item_of(folder, about)
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):  # a disk that keeps less than it said
        return _item_of(folder, _about(DAMAGED, "", "", "", {}), "what it is cannot be read any more")
    try:
        return item._replace(reason=json.loads((folder / _REASON).read_text(encoding="utf-8"))["reason"])
    except (OSError, ValueError):
        return item


def _link(path: Path, payload: Path) -> bool:
    """Give a file a second name, and tell whether this disk can."""
    try:
        os.link(str(path.resolve()), str(payload))
    except OSError:
        return False
    return True


def _write_file(payload: Path, source: SentFile) -> None:
    with _writing(payload) as file:
        for offset in range(0, source.size, _BLOCK_BYTES):
            file.write(source.read(offset, min(_BLOCK_BYTES, source.size - offset)))
        source.check()


def _write_json(folder: Path, name: str, value: object) -> None:
    part = folder / f".{name}.part"
    with _writing(part) as file:
        file.write(json.dumps(value).encode("ascii"))
    part.replace(folder / name)
    sync_folder(folder)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[BinaryIO]:
    """Open a file for this user alone, whose content is on the disk after the block."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _AS_IT_IS
    with os.fdopen(os.open(str(path), flags, 0o600), "wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def _clear(folder: Path) -> None:
    for one in folder.iterdir():
        shutil.rmtree(str(one), ignore_errors=True)
