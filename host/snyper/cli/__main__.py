"""What `python -m snyper.cli` runs."""

from snyper.cli.main import main

if __name__ == "__main__":
    main()
