"""The clock by which tests hold waits below a bound."""

import os
import subprocess
import sys
import time
from contextlib import ExitStack

from tests.integration.stopwatch import Stopwatch


def test_it_goes_slower_where_others_have_the_processors() -> None:
    busy = [sys.executable, "-c", "while True: pass"]
    with ExitStack() as stack:
        for _ in range(4 * (os.cpu_count() or 1)):
            stack.callback(stack.enter_context(subprocess.Popen(busy)).kill)
        began_s = time.monotonic()
        with Stopwatch() as took:
            time.sleep(0.5)
        passed_s = time.monotonic() - began_s
    assert 0 < took.seconds < passed_s / 2
