"""The process of a hub, which `snyper hub` becomes: nothing of the command line is loaded here."""

import asyncio
import logging
import signal
import sys
from functools import partial

from snyper.device.logs import log_to_stderr
from snyper.hub import run
from snyper.hub.access import decided
from snyper.hub.options import announce, parse
from snyper.system.process import EXIT_FAILED, ended_by_signals, ending_signals
from snyper.system.streams import guarded, say


def main() -> None:
    """Run a hub until Ctrl-C. Exit status: 0 ended by Ctrl-C, SIGTERM or SIGHUP, 1 it could not go on."""
    options = parse(sys.argv[1:])
    for number in ending_signals():
        signal.signal(number, signal.default_int_handler)
    with guarded():
        log_to_stderr(logging.INFO)
        # It warns of each line to a peer that has just gone.
        logging.getLogger("asyncio").setLevel(logging.ERROR)
        try:
            options, keys = decided(options)
            ready = partial(announce, options, bool(keys.lines))
            asyncio.run(ended_by_signals(run.serve(options, keys, ready)))
        except (KeyboardInterrupt, asyncio.CancelledError):
            say("stopped")
        except (OSError, ValueError) as error:
            say(f"snyper: {error}")
            sys.exit(EXIT_FAILED)


if __name__ == "__main__":
    main()
