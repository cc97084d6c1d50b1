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


def is_here(extra: str) -> bool:
    """Tell whether an extra is installed."""
    return find_spec(_MODULES[extra]) is not None


def need(extra: str, what: str) -> None:
    """End the command, with what to type, where `what` needs an extra that is not installed."""
    if not is_here(extra):
        module = _MODULES[extra]
        pip = f"{shlex.quote(sys.executable)} -m pip install 'snyper[{extra}]'"
        fail(f"{what} needs {module}, which is not installed: {pip}", EXIT_FAILED)
