"""What Python 3.7 does not have, where no tool says it: what a device runs does without."""

import ast
from collections.abc import Iterator
from pathlib import Path

DEVICE = Path(__file__).parents[2] / "host" / "snyper" / "device"
NEWER_KEYWORDS = {"missing_ok", "dirs_exist_ok", "strict", "usedforsecurity", "ssl_shutdown_timeout"}


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(DEVICE.rglob("*.py")):
        yield path.relative_to(DEVICE).as_posix(), ast.parse(path.read_text(encoding="utf-8"))


def test_no_call_has_an_argument_that_is_newer() -> None:
    found = [
        f"{name}:{node.value.lineno} {node.arg}"
        for name, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.keyword) and node.arg in NEWER_KEYWORDS
    ]
    assert found == []


def tries_in(node: ast.AST) -> Iterator[ast.Try]:
    """Every `try` that a coroutine runs itself."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Try):
            yield child
        if not isinstance(child, ast.FunctionDef | ast.Lambda | ast.AsyncFunctionDef):
            yield from tries_in(child)


def swallows_cancellation(node: ast.Try) -> bool:
    caught = [ast.unparse(one.type) if one.type else "" for one in node.handlers]
    return "Exception" in caught and "asyncio.CancelledError" not in caught[: caught.index("Exception")]


def test_no_coroutine_takes_its_cancellation_for_an_error() -> None:
    """Which is an Exception there."""
    found = [
        f"{name}:{node.lineno}"
        for name, tree in sources()
        for coroutine in ast.walk(tree)
        if isinstance(coroutine, ast.AsyncFunctionDef)
        for node in tries_in(coroutine)
        if swallows_cancellation(node)
    ]
    assert found == []


def test_what_is_looked_for_is_found() -> None:
    [coroutine] = ast.parse("async def f():\n if a:\n  try: await b\n  except Exception: pass").body
    assert [swallows_cancellation(one) for one in tries_in(coroutine)] == [True]
