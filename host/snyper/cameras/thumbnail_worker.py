"""The process that makes thumbnails: a line of JSON with names of pictures comes in, a line goes out that
says of each whether it could be decoded. Its arguments are the folders of pictures, of thumbnails, and
of those that are not finished.

It is one of its own, so that no picture, whatever is in it, takes the memory or the time of who serves.
"""

import contextlib
import json
import os
import signal
import sys
from pathlib import Path

from PIL import Image, ImageFile

from snyper.cameras.pictures import MAX_PIXELS
from snyper.system.files import PRIVATE_FOLDER

SIZE = (320, 240)  # a tile of the page, on screens with two pixels a point
_QUALITY = 75
_MAX_MEMORY_BYTES = 1_500_000_000  # a picture of MAX_PIXELS decoded, converted, and Python
_NICENESS = 10  # what comes in goes before


def main() -> None:
    """Make thumbnails until the input ends."""
    _set_limits()
    Image.MAX_IMAGE_PIXELS = MAX_PIXELS
    pictures, thumbnails, new = map(Path, sys.argv[1:])
    for line in sys.stdin:
        made = [
            _is_made(pictures / name, (thumbnails / name).with_suffix(".jpg"), new)
            for name in json.loads(line)
        ]
        print(json.dumps(made), flush=True)


def _is_made(source: Path, target: Path, new: Path) -> bool:
    """Make a thumbnail that is not there, of a picture that is; tell whether it could be decoded."""
    with contextlib.suppress(Exception):
        if source.exists() and not target.exists():
            make(source, target, new)
        return True
    return False


def make(source: Path, target: Path, new: Path) -> None:
    """Write the thumbnail of a picture, whole or not at all, by way of the folder `new`; of one that is cut
    off, what there is of it. Raises OSError for what is no picture, and what else Pillow raises.
    """
    try:
        small = _small(source)
    except OSError:
        ImageFile.LOAD_TRUNCATED_IMAGES = True
        try:
            small = _small(source)
        finally:
            ImageFile.LOAD_TRUNCATED_IMAGES = False
        if not small.getbbox():  # nothing but the black that it began with
            raise
    target.parent.mkdir(parents=True, exist_ok=True)
    part = new / f"{target.name}.{os.urandom(6).hex()}"
    try:
        small.save(part, "JPEG", quality=_QUALITY)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    if not source.exists():  # it was erased meanwhile
        target.unlink(missing_ok=True)


def _small(source: Path) -> Image.Image:
    with Image.open(source, formats=("JPEG", "PNG", "WEBP")) as picture:
        picture.draft("RGB", SIZE)
        picture.thumbnail(SIZE)
        return picture.convert("RGB")


def _set_limits() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is its parent's, whose end ends the input
    os.umask(0o777 & ~PRIVATE_FOLDER)  # pictures are nobody else's to see
    if hasattr(os, "nice"):
        os.nice(_NICENESS)
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY_BYTES, _MAX_MEMORY_BYTES))


if __name__ == "__main__":
    main()
