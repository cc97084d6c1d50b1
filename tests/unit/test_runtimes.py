"""The two runtimes' files have the same public functions."""

import ast
from pathlib import Path

SHARED = Path(__file__).parents[2] / "shared"


def public_names(file: str) -> set[str]:
    """Read what a file makes and has for others, without importing it."""
    found = set()
    for node in ast.parse((SHARED / file).read_text(encoding="utf-8")).body:
        match node:
            case ast.FunctionDef(name) | ast.AsyncFunctionDef(name) | ast.ClassDef(name):
                found.add(name)
            case ast.Assign([ast.Name(name)]):
                found.add(name)
            case ast.ImportFrom(_, names):
                found |= {alias.asname for alias in names if alias.asname}
    return {name for name in found if not name.startswith("_")}


def test_both_runtimes_have_the_same_names() -> None:
    only_there = {"set_nodelay"}  # asyncio does that itself on CPython
    micropython, cpython = public_names("runtime_micropython.py"), public_names("runtime_cpython.py")
    assert micropython - only_there == cpython - {"configure_stream"}
    assert {"dial", "listen", "call_later", "now_us", "write_log"} <= cpython


def test_both_have_the_same_to_dial_with_tls() -> None:
    micropython, cpython = public_names("tls_micropython.py"), public_names("tls_cpython.py")
    assert micropython == cpython - {"TlsStream"} == {"TYPE_CHECKING", "secure"}
