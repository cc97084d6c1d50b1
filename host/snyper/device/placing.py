"""Files that get their name once they are complete: whole or not at all, over any loss of power, and never in
the place of another file.
"""

import errno
import os
from pathlib import Path

from snyper.device.disk import sync_folder

# What file systems without hard links (FAT, some of the network) say of one.
_NO_LINKS = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EINVAL}


def place(part: Path, path: Path, is_again: bool = False) -> None:
    """Have the file `part` at `path` too, or there alone where there are no hard links. After a crash
    `is_placed` tells, and this may be repeated: `is_again`. Raises FileExistsError where something is there,
    OSError.
    """
    try:
        os.link(part, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _move(part, path, is_again)
    sync_folder(path.parent)


def is_placed(part: Path, path: Path) -> bool:
    """Tell whether `part`, which was to be placed at `path`, has been: it is there too, or has no name of its
    own any more.
    """
    if not part.exists():
        return True
    try:
        return part.samefile(path)
    except FileNotFoundError:
        return False


def _move(part: Path, path: Path, is_again: bool) -> None:
    """Reserve the name with an empty file, and put the part in its place."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    except FileExistsError:
        if not is_again or path.stat().st_size:  # else it is the reservation of the process that died
            raise
    part.replace(path)
