"""Pictures as files: judged by their heads, written so that they outlive a loss of power.

    new/…                                   what has no name yet
    pictures/2026120122/<sha256>.png        the hour in which it came first, UTC
    thumbnails/2026120122/<sha256>.jpg

Nothing that a device says becomes part of a path.
"""

import binascii
import hashlib
import itertools
import os
import re
import struct
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pybase64

from snyper.cameras.records import Picture
from snyper.device.disk import sync_folder
from snyper.system.files import PRIVATE, make_private_folder

MAX_BYTES = 12_000_000  # what 16 MB of base64 hold
MAX_PIXELS = 40_000_000  # 160 MB once decoded
_HOUR = re.compile(r"[0-9]{10}")
_NAME = re.compile(r"[0-9]{10}/[0-9a-f]{64}\.(jpg|png|webp)")
_THUMBNAIL = re.compile(r"[0-9]{10}/[0-9a-f]{64}\.jpg")
_PREFIX = re.compile(r"data:[\w.+-]*/?[\w.+-]*(;[\w=.+-]+)*,", re.ASCII | re.IGNORECASE)
_MEDIA_TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
# The markers of JPEG that begin a frame, with its size; FFC4, FFC8 and FFCC are something else.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}


class NotAPicture(ValueError):
    """The bytes are no picture that is kept; the message says why."""


@dataclass(frozen=True)
class Head:
    """The kind of a picture (its file's ending), and its size in pixels."""

    kind: str
    width: int
    height: int


@dataclass(frozen=True)
class NewPicture:
    """A picture whose file is on the disk, but not under its name yet. `digest` is its SHA-256."""

    picture: Picture
    digest: bytes
    file: Path


def decode(sent: str | bytes) -> bytes:
    """Return the bytes of a picture that came as bytes or as base64, with a `data:` prefix or without.
    Raises NotAPicture.
    """
    if isinstance(sent, bytes):
        return sent
    text = sent
    if text[:5].lower() == "data:":
        found = _PREFIX.match(text[:200])
        if not found:
            raise NotAPicture("its data: prefix has no end")
        text = text[found.end() :]
    try:
        return pybase64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):  # with line ends, or without its last characters
        compact = "".join(text.split())
    try:
        return pybase64.b64decode(compact + "=" * (-len(compact) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise NotAPicture("it is not base64") from None


def judge(content: bytes) -> Head:
    """Return what a picture's head says of it: nothing is decoded. Raises NotAPicture."""
    if len(content) > MAX_BYTES:
        raise NotAPicture(f"it has {len(content):,} bytes, above the limit of {MAX_BYTES:,}")
    try:
        head = _head(content)
    except (struct.error, IndexError):
        head = None
    if head is None:
        raise NotAPicture("it is neither JPEG, PNG nor WebP")
    if not 0 < head.width * head.height <= MAX_PIXELS:
        raise NotAPicture(f"it has {head.width} x {head.height} pixels: 1 to {MAX_PIXELS:,} are taken")
    return head


def _head(content: bytes) -> Head | None:
    if content.startswith(b"\x89PNG\r\n\x1a\n") and content[12:16] == b"IHDR":
        return Head("png", *struct.unpack_from(">II", content, 16))
    if content.startswith(b"\xff\xd8\xff"):
        return _jpeg_head(content)
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return _webp_head(content)
    return None


def _jpeg_head(content: bytes) -> Head | None:
    at = 2
    while content[at] == 0xFF:
        while content[at + 1] == 0xFF:  # padding
            at += 1
        marker = content[at + 1]
        (length,) = struct.unpack_from(">H", content, at + 2)
        if marker in _FRAMES:
            height, width = struct.unpack_from(">HH", content, at + 5)
            return Head("jpg", width, height)
        if marker == 0xDA or length < 2:  # the picture itself, with no frame before it
            return None
        at += 2 + length
    return None


def _webp_head(content: bytes) -> Head | None:
    kind = content[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(content[at : at + 3], "little") + 1 for at in (24, 27))
        return Head("webp", width, height) if len(content) >= 30 else None
    if kind == b"VP8 " and content[23:26] == b"\x9d\x01\x2a":
        width, height = struct.unpack_from("<HH", content, 26)
        return Head("webp", width & 0x3FFF, height & 0x3FFF)
    if kind == b"VP8L" and content[20] == 0x2F:
        (bits,) = struct.unpack_from("<I", content, 21)
        return Head("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    return None


def is_hour(name: str) -> bool:
    """Tell whether a folder may be that of the pictures of an hour."""
    return _HOUR.fullmatch(name) is not None


def is_picture_name(name: str) -> bool:
    """Tell whether a name, with its hour, may be that of a picture."""
    return _NAME.fullmatch(name) is not None


def is_thumbnail_name(name: str) -> bool:
    """Tell whether a name, with its hour, may be that of a thumbnail."""
    return _THUMBNAIL.fullmatch(name) is not None


class PictureFolder:
    """A folder of pictures, which is made where it is missing, and is its owner's alone. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.thumbnails = folder.with_name("thumbnails")
        self.new = folder.with_name("new")  # of what has no name yet, thumbnails too
        self._numbers = itertools.count()  # of what has no name yet
        self._has_new_hour = False  # whose folder's name may not be on the disk
        for one in (folder, self.thumbnails, self.new):
            make_private_folder(one)
        for left in self.new.iterdir():  # by who was killed
            left.unlink()
        # Nor may the last names that he gave be on the disk, which are taken for pictures that are there.
        for hour in sorted(one for one in folder.iterdir() if one.is_dir())[-2:]:
            sync_folder(hour)
        sync_folder(folder)

    def path(self, name: str) -> Path | None:
        """Return where the file of a picture is, None for a name that is none."""
        return self.folder / name if is_picture_name(name) else None

    def thumbnail_path(self, name: str) -> Path | None:
        """Return where the thumbnail of a picture is to be, None for a name that is none."""
        return (self.thumbnails / name).with_suffix(".jpg") if is_picture_name(name) else None

    def write(self, content: bytes, received_s: float) -> NewPicture:
        """Write a picture, which `place` then has under its name. Raises NotAPicture, OSError."""
        head = judge(content)
        digest = hashlib.sha256(content)
        hour = datetime.fromtimestamp(received_s, UTC).strftime("%Y%m%d%H")
        name = f"{hour}/{digest.hexdigest()}.{head.kind}"
        file = self.new / str(next(self._numbers))
        _write(file, content)
        picture = Picture(name, _MEDIA_TYPES[head.kind], head.width, head.height, len(content))
        return NewPicture(picture, digest.digest(), file)

    def place(self, new: NewPicture) -> bool:
        """Give a picture its name, which is on the disk after `sync`, and tell whether there was none of that
        name. One that was there is replaced, since it may be damaged. Raises OSError.
        """
        path = self.folder / new.picture.name
        is_first = not path.exists()
        try:
            new.file.replace(path)
        except FileNotFoundError:  # the first of its hour
            make_private_folder(path.parent)
            self._has_new_hour = True
            new.file.replace(path)
        return is_first

    def sync(self, names: set[str]) -> None:
        """Have the names that pictures were given on the disk. Raises OSError."""
        for hour in {name.partition("/")[0] for name in names}:
            sync_folder(self.folder / hour)
        if self._has_new_hour:
            sync_folder(self.folder)
            self._has_new_hour = False

    def remove(self, name: str) -> None:
        """Remove the file of a picture and its thumbnail, if they are there. Raises OSError."""
        (self.folder / name).unlink(missing_ok=True)
        (self.thumbnails / name).with_suffix(".jpg").unlink(missing_ok=True)


def _write(path: Path, content: bytes) -> None:
    try:
        file = os.open(path, _NEW, PRIVATE)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(file, view) :]
            os.fsync(file)
        finally:
            os.close(file)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
