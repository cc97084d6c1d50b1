"""Types of signatures that came as text, named as a .pyi can name them. Pure."""

import ast
from collections.abc import Mapping, Sequence

from snyper.services.signature_text import parse_signature

# The types that travel as they are, with how many arguments each takes; None: any number.
_BUILTINS: Mapping[str, int | None] = {
    **dict.fromkeys(("bool", "bytes", "complex", "float", "int", "object", "str"), 0),
    **dict.fromkeys(("frozenset", "list", "set"), 1),
    "dict": 2,
    "tuple": None,
}
_ABSTRACT: Mapping[str, int] = {
    **dict.fromkeys(("Collection", "Iterable", "Iterator", "MutableSequence", "Sequence"), 1),
    **dict.fromkeys(("Mapping", "MutableMapping"), 2),
}
_IN_MODULES: Mapping[str, Sequence[str]] = {
    "datetime": ("date", "datetime", "time", "timedelta"),
    "decimal": ("Decimal",),
    "uuid": ("UUID",),
    "numpy": (
        *("bool", "bytes_", "complex128", "complex64", "datetime64", "float16", "float32", "float64"),
        *("int16", "int32", "int64", "int8", "str_", "timedelta64", "uint16", "uint32", "uint64", "uint8"),
    ),
}
_OLD_NAMES = {"Dict": "dict", "FrozenSet": "frozenset", "List": "list", "Set": "set", "Tuple": "tuple"}
_ALIASES = {"np": "numpy", "npt": "numpy.typing"}  # in annotations that are still text
# The types of defaults that are shown, with those that they fit, to type checkers.
_FITTING: Mapping[str, Sequence[str]] = {
    "None": ("None",),
    "bool": ("bool", "int"),
    "bytes": ("bytes",),
    "complex": ("complex",),
    "float": ("float", "complex"),
    "int": ("int", "float", "complex"),
    "str": ("str",),
}
# What generators say that they return, with the type of an item first.
_STREAMS = ("Iterator", "Iterable", "Generator", "AsyncIterator", "AsyncIterable", "AsyncGenerator")


class StubTypes:
    """The types of one file: their text, and the imports that it takes. What has no text is Any.

    `hidden` are the names that a class of the file has, and that therefore mean something else in it.
    """

    def __init__(self, hidden: set[str]) -> None:
        self._hidden = hidden
        self._imports: set[str] = set()
        self.any = self._imported("typing", "Any")
        self.own = self._imported("typing", "Self")

    def imports(self) -> list[str]:
        """Return the lines that import what has been named."""
        return sorted(self._imports)

    def builtin(self, name: str) -> str:
        """Return what names one of Python's own."""
        return f"{self._module('builtins')}.{name}" if name in self._hidden else name

    def awaitable(self, value: str) -> str:
        """Return the type of what gives `value` when it is awaited."""
        return f"{self._imported('collections.abc', 'Coroutine')}[{self.any}, {self.any}, {value}]"

    def stream(self, returned: ast.expr | None, is_async: bool) -> str:
        """Return the type of what a generator gives, whose function says that it returns this."""
        item = self.any
        if isinstance(returned, ast.Subscript) and _last_name(returned.value) in _STREAMS:
            item = self.text(_arguments_of(returned)[0])
        return f"{self._imported('collections.abc', 'AsyncIterator' if is_async else 'Iterator')}[{item}]"

    def argument(self, argument: ast.arg, default: ast.expr | None) -> str:
        """Return an argument with its type, and its default where that is plain and fits the type."""
        members = self._members(argument.annotation)
        if default is None:
            return f"{argument.arg}: {self._union(members)}"
        try:
            value = ast.literal_eval(default)
        except (TypeError, ValueError):
            value = ...
        kind = "None" if value is None else type(value).__name__
        if value is None:
            members.append("None")  # which annotations of old leave out
        fitting = {self.any, *map(self.builtin, _FITTING.get(kind, ()))}
        shown = ast.unparse(default) if kind in _FITTING and fitting & {*members} else "..."
        return f"{argument.arg}: {self._union(members)} = {shown}"

    def text(self, annotation: ast.expr | None) -> str:
        """Return the text of a type."""
        return self._union(self._members(annotation))

    def _union(self, members: Sequence[str]) -> str:
        return self.any if self.any in members else " | ".join(dict.fromkeys(members))

    def _members(self, node: ast.expr | None) -> list[str]:
        """Return the types of which it may be any."""
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            return [*self._members(node.left), *self._members(node.right)]
        if isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                return self._members(parse_signature(f"() -> {node.value}").returns)
            return ["None"] if node.value is None else [self.any]
        name = _last_name(node.value if isinstance(node, ast.Subscript) else node)
        if not isinstance(node, ast.Subscript):
            return [self._named(node, [])]
        arguments = _arguments_of(node)
        if name == "Annotated":
            return self._members(arguments[0])
        if name in ("Optional", "Union"):
            of_none = ["None"] if name == "Optional" else []
            return [*(one for argument in arguments for one in self._members(argument)), *of_none]
        return [self._literal(arguments) if name == "Literal" else self._named(node.value, arguments)]

    def _literal(self, values: Sequence[ast.expr]) -> str:
        plain = all(
            isinstance(one, ast.Constant) and isinstance(one.value, str | int | bytes) for one in values
        )
        if not plain:
            return self.any
        return f"{self._imported('typing', 'Literal')}[{', '.join(map(ast.unparse, values))}]"

    def _named(self, node: ast.expr | None, arguments: Sequence[ast.expr]) -> str:
        """Return the type that is called so, with these arguments."""
        module, _, name = ("" if node is None else ast.unparse(node)).rpartition(".")
        module = _ALIASES.get(module, module)
        name = _OLD_NAMES.get(name, name) if module in ("", "typing") else name
        if name in _BUILTINS and module in ("", "builtins", "typing"):
            return self._generic(self.builtin(name), _BUILTINS[name], arguments)
        if name in _ABSTRACT and module in ("", "collections.abc", "typing"):
            return self._generic(self._imported("collections.abc", name), _ABSTRACT[name], arguments)
        if (module, name) in (("numpy", "ndarray"), ("numpy.typing", "NDArray")):
            return self._array(arguments)
        if name in _IN_MODULES.get(module, ()) and not arguments:
            return f"{self._module(module)}.{name}"
        return self.any

    def _generic(self, name: str, count: int | None, arguments: Sequence[ast.expr]) -> str:
        if count == 0:
            return self.any if arguments else name
        if count is None:
            return f"{name}[{self._items(arguments)}]"
        if len(arguments) != count:
            return f"{name}[{', '.join([self.any] * count)}]"
        return f"{name}[{', '.join(map(self.text, arguments))}]"

    def _items(self, arguments: Sequence[ast.expr]) -> str:
        """Return what a tuple has: so many, or any number of one type."""
        if [ast.unparse(one) for one in arguments] == ["()"]:
            return "()"
        is_any = not arguments or [ast.unparse(one) for one in arguments[1:]] == ["..."]
        if is_any:
            return f"{self.text(arguments[0]) if arguments else self.any}, ..."
        return ", ".join(map(self.text, arguments))

    def _array(self, arguments: Sequence[ast.expr]) -> str:
        """Return the type of arrays: of any shape, as an annotation seldom says it."""
        last = arguments[-1] if arguments else None
        if isinstance(last, ast.Subscript) and _last_name(last.value) == "dtype":
            last = _arguments_of(last)[0]
        numpy, item = self._module("numpy"), self.text(last)
        is_scalar = item.rpartition(".") in [(numpy, ".", name) for name in _IN_MODULES["numpy"]]
        return f"{numpy}.ndarray[{self.any}, {numpy}.dtype[{item if is_scalar else self.any}]]"

    def _module(self, name: str) -> str:
        alias = f"_{name}" if name in self._hidden else name
        self._imports.add(f"import {name}" + (f" as {alias}" if alias != name else ""))
        return alias

    def _imported(self, module: str, name: str) -> str:
        alias = f"_{name}" if name in self._hidden else name
        self._imports.add(f"from {module} import {name}" + (f" as {alias}" if alias != name else ""))
        return alias


def _last_name(node: ast.expr | None) -> str:
    return "" if node is None else ast.unparse(node).rpartition(".")[2]


def _arguments_of(node: ast.Subscript) -> Sequence[ast.expr]:
    return node.slice.elts or [node.slice] if isinstance(node.slice, ast.Tuple) else [node.slice]
