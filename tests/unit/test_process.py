"""How a process starts, and ends."""

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


INTERRUPTED = """
import asyncio, signal
from snyper.system.process import ended_by_signals


async def put_away():
    try:
        await asyncio.Event().wait()
    finally:
        signal.raise_signal(signal.SIGINT)


async def work():
    task = asyncio.create_task(put_away())
    await asyncio.sleep(0)
    signal.raise_signal(signal.SIGINT)
    try:
        await asyncio.Event().wait()
    finally:
        task.cancel()
        await asyncio.wait([task])


try:
    asyncio.run(ended_by_signals(work()))
except KeyboardInterrupt:
    print("interrupted")
"""


def test_another_ctrl_c_in_a_task_leaves_no_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "interrupted\n", "")
