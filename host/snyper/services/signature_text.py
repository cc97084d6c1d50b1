"""Signatures as text that Python parses: written for another machine, and read from one. Pure."""

import ast
import inspect
import types
import typing
from math import isfinite

MAX_SIGNATURE = 4096  # characters; far more than a person writes
_MAX_DEPTH = 50  # of an annotation's tree, so that whatever goes through it by recursion ends
_ANY_ARGUMENTS = "(*args, **kwargs)"
_MAX_DEFAULT = (
    80  # characters of a default value; longer ones, such as texts of help, say nothing at a glance
)


def signature_text(signature: inspect.Signature | None) -> str | None:
    """Return text such as `(samples: int = 20) -> float`; None for None.

    Defaults that are no short literals are `...`. Annotations without a name that others can write are left
    out.
    """
    if signature is None:
        return None
    empty = inspect.Signature.empty
    parameters = [
        one.replace(
            default=empty if one.default is empty else _Text(_default_text(one.default)),
            annotation=_annotation(one.annotation),
        )
        for one in signature.parameters.values()
    ]
    returned = _annotation(signature.return_annotation)
    return str(inspect.Signature(parameters, return_annotation=returned))


class _Text:
    """Text that stands in a signature as it is."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


def _default_text(value: object) -> str:
    is_literal = (
        value is None or type(value) in (bool, int, str, bytes) or (type(value) is float and isfinite(value))
    )
    try:
        text = repr(value) if is_literal else "..."
    except ValueError:  # an integer of thousands of digits
        return "..."
    return text if len(text) <= _MAX_DEFAULT else "..."


def _annotation(annotation: object) -> object:
    text = _annotation_text(annotation)
    try:
        ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return inspect.Signature.empty
    return _Text(text)


def _annotation_text(annotation: object) -> str:
    """Return what names the annotation; text that does not parse where nothing does."""
    if annotation is inspect.Signature.empty:
        return ""
    if annotation is None or annotation is types.NoneType:
        return "None"
    if isinstance(annotation, str):
        return annotation.strip()
    if typing.get_origin(annotation) is typing.Annotated:
        return _annotation_text(typing.get_args(annotation)[0])
    try:
        return inspect.formatannotation(annotation)
    except Exception:  # a `__repr__` of others
        return ""


def parse_signature(signature: object) -> ast.FunctionDef:
    """Parse the text of a signature; of what is none, make one that takes anything."""
    text = signature if isinstance(signature, str) and len(signature) <= MAX_SIGNATURE else _ANY_ARGUMENTS
    try:
        body = ast.parse(f"def f{text}: ...").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return parse_signature(_ANY_ARGUMENTS)
    function = body[0]
    if len(body) != 1 or not isinstance(function, ast.FunctionDef) or _is_deep(function):
        return parse_signature(_ANY_ARGUMENTS)
    names = argument_names(function.args)
    return function if len(set(names)) == len(names) else parse_signature(_ANY_ARGUMENTS)


def argument_names(arguments: ast.arguments) -> list[str]:
    """Return the names of a function's arguments."""
    return [one.arg for one in ast.walk(arguments) if isinstance(one, ast.arg)]


def _is_deep(node: ast.AST) -> bool:
    level = [node]
    for _ in range(_MAX_DEPTH):
        level = [child for one in level for child in ast.iter_child_nodes(one)]
    return bool(level)
