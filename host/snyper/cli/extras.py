"""Checks for extras, which are installed only where they are asked for."""

import shlex
import sys
from importlib.util import find_spec

from snyper.cli.output import fail
from snyper.system.process import EXIT_FAILED

_MODULES = {
    "dashboard": "nicegui",
    "plot": "matplotlib",
    "gateway": "uvicorn",
    "arrays": "numpy",
    "zarr": "zarr",
    "dask": "distributed",
    "cameras": "sqlalchemy",
    "postgresql": "psycopg",
}  # of each extra, the one that all else comes with


def need(extra: str, what: str) -> None:
    """End the command, with what to type, where `what` needs an extra that is not installed."""
    module = _MODULES[extra]
    if find_spec(module) is None:
        pip = f"{shlex.quote(sys.executable)} -m pip install 'snyper[{extra}]'"
        fail(f"{what} needs {module}, which is not installed: {pip}", EXIT_FAILED)
