"""Runs one portable test file where there is no pytest: `micropython tests/portable/run.py FILE`.

Prints a line with a JSON object (`name`, `ok`, `trace`) for each test; exits with 1 when one failed. What the
tests themselves print stands between these lines and begins with no `{`.
"""

import asyncio
import gc
import io
import json
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIMIT_S = 20  # for one test; none needs a fifth of it

_HERE = __file__.rpartition("/")[0] or "."
sys.path[:0] = [_HERE + "/../..", _HERE + "/../../host"]
runtime: "Any" = __import__("snyper.shared.runtime_micropython").shared.runtime_micropython


def main(path: str) -> int:
    name = path.rpartition("/")[2].partition(".")[0]
    module = getattr(__import__("tests.portable." + name).portable, name)
    failed = 0
    for test in sorted(name for name in dir(module) if name.startswith("test_")):
        gc.collect()
        trace = _trace_of(getattr(module, test))
        failed += trace is not None
        print(json.dumps({"name": test, "ok": trace is None, "trace": trace or ""}))
    return 1 if failed else 0


def _trace_of(test: "Any") -> "str | None":
    """Run `test` on an event loop of its own; what a task of it died of fails it too."""
    deaths: "list[Exception]" = []
    loop = asyncio.new_event_loop()
    runtime._timers.clear()
    runtime._ticker = None  # it was a task of the loop before
    runtime._is_asleep = False
    loop.set_exception_handler(lambda _, context: deaths.append(context["exception"]))
    try:
        coroutine = test()
        if coroutine is not None:
            loop.run_until_complete(asyncio.wait_for(coroutine, LIMIT_S))
        if deaths:
            raise deaths[0]
    except (Exception, asyncio.CancelledError) as error:
        trace = io.StringIO()
        sys.print_exception(error, trace)  # type: ignore[attr-defined]
        return trace.getvalue()
    return None


sys.exit(main(sys.argv[1]))
