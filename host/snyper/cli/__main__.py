"""Run the command line: `python -m snyper.cli`."""

from snyper.cli.main import main

if __name__ == "__main__":
    main()
