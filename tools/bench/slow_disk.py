"""Processes for which a sync takes longer, as on most disks that are not a data centre's."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from snyper.boards.temporary import temporary_directory
from tools.bench.processes import PROGRAMS


def find_compiler() -> str | None:
    """Return the path of a compiler of C, None where there is none."""
    return shutil.which("cc")


@contextmanager
def slower_syncs(longer_ms: float) -> Iterator[None]:
    """Have each fsync and fdatasync of the processes that are started in the block take so much longer. Linux
    only (ld.so(8), LD_PRELOAD). Raises OSError without a compiler, CalledProcessError.
    """
    compiler = find_compiler()
    if compiler is None:
        raise FileNotFoundError("there is no C compiler (cc): install gcc")
    with temporary_directory("snyper-bench-") as folder:
        library = folder / "slow_sync.so"
        command = (compiler, "-shared", "-fPIC", "-O2", PROGRAMS / "slow_sync.c", "-o", library, "-ldl")
        subprocess.run(command, check=True)
        folder.chmod(0o755)  # PostgreSQL has a user of its own
        before = dict(os.environ)
        os.environ |= {"LD_PRELOAD": str(library), "SYNC_US": str(round(longer_ms * 1_000))}
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
