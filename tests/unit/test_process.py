"""How a process starts."""

import subprocess
import sys

LOADS = """
import gc
from snyper.system.process import loading

with loading():
    assert not gc.isenabled()
    import sqlite3
assert gc.isenabled()
assert gc.get_freeze_count() > 1_000
gc.disable()
with loading():
    import decimal
assert not gc.isenabled()
"""


def test_what_is_loaded_is_not_looked_through_for_garbage() -> None:
    done = subprocess.run([sys.executable, "-c", LOADS], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
