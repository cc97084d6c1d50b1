"""Parse Python in any thread.

CPython counts for the whole process how deep it is in a tree, so two threads that parse at once, or that
read a literal, can end in a SystemError: https://github.com/python/cpython/issues/106905
"""

import ast
from threading import Lock
from typing import Any

_parsing = Lock()


def parse(source: str) -> ast.Module:
    """Parse a module. Raises SyntaxError."""
    with _parsing:
        return ast.parse(source)


def literal(source: str) -> Any:
    """Evaluate a literal: numbers, text, bytes, and what is made of them. Raises SyntaxError for what is no
    Python, ValueError for what is no literal.
    """
    with _parsing:
        return ast.literal_eval(source)
