"""Parse Python in any thread, and look at what was parsed.

CPython counts for the whole process how deep it is in a tree, so two threads that parse at once, or that
read a literal, can end in a SystemError: https://github.com/python/cpython/issues/106905
"""

import ast
from collections.abc import Iterator
from functools import lru_cache
from threading import Lock
from typing import Any

_parsing = Lock()


def parse(source: str) -> ast.Module:
    """Parse a module. Raises SyntaxError."""
    with _parsing:
        return ast.parse(source)


@lru_cache(maxsize=512)
def tree_of(source: str) -> ast.Module:
    """Parse a module once; the tree is nobody's to change. Raises SyntaxError."""
    return parse(source)


def literal(source: str) -> Any:
    """Evaluate a literal: numbers, text, bytes, and what is made of them. Raises SyntaxError for what is no
    Python, ValueError for what is no literal.
    """
    with _parsing:
        return ast.literal_eval(source)


def walk(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a tree as `ast.walk` does, but for the contexts of names, in less time: an image
    takes two hundred thousand.
    """
    nodes = [tree]
    for node in nodes:  # to which its children are added
        yield node
        for name in node._fields:
            child = getattr(node, name, None)
            if isinstance(child, ast.AST):
                if not isinstance(child, ast.expr_context):
                    nodes.append(child)
            elif isinstance(child, list):
                nodes += [one for one in child if isinstance(one, ast.AST)]
