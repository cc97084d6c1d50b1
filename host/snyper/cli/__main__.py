"""Start the command line: `snyper`, or `python -m snyper.cli`."""

import signal


def main() -> None:
    """Load the command line, and run it. While it loads nothing is to be put away: Ctrl-C ends the process
    by the signal, as its default is, in the middle of any import, instead of by a traceback from there.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # unless it is started to ignore it
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from snyper.cli.main import main as run

    run()


if __name__ == "__main__":
    main()
