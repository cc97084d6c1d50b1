"""The text of a .pyi for what a server serves, as `Surface.describe` has it. Pure.

What comes is another machine's. Whatever it is, the text parses, and names nothing but the types below.
"""

import ast
import re
from collections.abc import Iterator, Mapping, Sequence
from keyword import iskeyword
from typing import NamedTuple, TypeGuard

from snyper.services.members import FUNCTION, GETTER, METHOD, SETTER
from snyper.services.naming import RESERVED, as_read, key_of
from snyper.services.signature_text import argument_names, parse_signature
from snyper.services.stub_types import StubTypes

_HEAD = '''"""What a server serves, for type checkers and editors; made by `snyper stubs`.

    if TYPE_CHECKING:
        from lab import Lab
    pm: "Lab" = Client(...)
"""
'''


class _Command(NamedTuple):
    name: str
    kind: str
    attribute: str
    arguments: ast.arguments
    returned: ast.expr | None
    doc: str
    is_async: bool
    is_generator: bool


def stubs(described: Sequence[Mapping[str, object]]) -> str:
    """Return the text of a .pyi for a server, with the classes `Lab` and `AsyncLab`, whose calls are awaited.

    `described` is what `Surface.describe` returns there; what in it is no description is left out. Types that
    have no name everywhere, or do not travel as they are, become Any.
    """
    commands = list(_read(described))
    types = StubTypes({name for one in commands for name in (one.name, one.attribute)})
    classes = [_class(commands, types, is_async) for is_async in (False, True)]
    return "\n".join([_HEAD, *types.imports(), "", *classes])


def _read(described: object) -> Iterator[_Command]:
    taken = set(RESERVED)
    for one in described if isinstance(described, list | tuple) else ():
        if not isinstance(one, dict):
            continue
        name, kind, attribute, doc = (one.get(key) for key in ("name", "kind", "property", "doc"))
        if not _is_name(name) or key_of(name) in taken or kind not in (FUNCTION, GETTER, METHOD, SETTER):
            continue
        taken.add(key_of(name))
        function = parse_signature(one.get("signature"))
        yield _Command(
            name=as_read(name),
            kind=kind,
            attribute=as_read(attribute) if kind in (GETTER, SETTER) and _is_name(attribute) else "",
            arguments=function.args,
            returned=function.returns,
            doc=doc.encode(errors="backslashreplace").decode() if isinstance(doc, str) else "",
            is_async=one.get("async") is True,
            is_generator=one.get("generator") is True,
        )


def _is_name(name: object) -> TypeGuard[str]:
    is_public = isinstance(name, str) and name.isidentifier() and not name.startswith("_")
    return is_public and not iskeyword(as_read(str(name)))


def _class(commands: Sequence[_Command], types: StubTypes, is_async: bool) -> str:
    properties: dict[str, dict[str, _Command]] = {}
    names = {key_of(one.name) for one in commands} | RESERVED
    for one in commands:
        if one.attribute and key_of(one.attribute) not in names:
            properties.setdefault(key_of(one.attribute), {})[one.kind] = one
    text, some, define = types.builtin("str"), types.any, "async def" if is_async else "def"
    begin, end = ("__aenter__", "__aexit__") if is_async else ("__enter__", "__exit__")
    lines = [
        f"class {'Async' if is_async else ''}Lab:",
        f"    {define} {begin}(self) -> {types.own}: ...",
        f"    {define} {end}(self, *error: {types.builtin('object')}) -> None: ...",
        f"    {define} call(self, name: {text}, /, *args: {some}, **kwargs: {some}) -> {some}: ...",
        f"    {define} help(self, name: {text} | None = None) -> None: ...",
        f"    {define} close(self) -> None: ...",
    ]
    for accessors in properties.values():
        lines += _property(accessors, types, is_async)
    for one in commands:
        lines += _method(one, types, is_async)
    return "\n".join(lines) + "\n"


def _property(accessors: Mapping[str, _Command], types: StubTypes, is_async: bool) -> list[str]:
    getter, setter = accessors.get(GETTER), accessors.get(SETTER)
    name = next(iter(accessors.values())).attribute
    value = types.any if getter is None else types.text(getter.returned)
    shown = types.awaitable(value) if is_async else value
    lines = [
        f"    @{types.builtin('property')}",
        *_function("def", name, "self", shown, "" if getter is None else getter.doc),
    ]
    if setter is not None and not is_async:
        positional = [*setter.arguments.posonlyargs, *setter.arguments.args]
        taken = types.text(positional[0].annotation) if positional else types.any
        lines += [f"    @{name}.setter", *_function("def", name, f"self, value: {taken}", "None", "")]
    return lines


def _method(command: _Command, types: StubTypes, is_async: bool) -> list[str]:
    define = "async def" if is_async else "def"
    arguments = _arguments(command.arguments, types)
    if command.is_generator:
        returned = types.stream(command.returned, is_async)
        return _function(define, command.name, arguments, returned, command.doc)
    return _function(define, command.name, arguments, types.text(command.returned), command.doc)


def _function(define: str, name: str, arguments: str, returned: str, doc: str) -> list[str]:
    line = f"    {define} {name}({arguments}) -> {returned}:"
    if not doc:
        return [f"{line} ..."]
    indented = re.sub(r"\n(?=.)", "\n        ", doc)
    return [line, f"        {_quoted(indented)}"]


def _quoted(doc: str) -> str:
    """Return a docstring as it is written."""
    tree = ast.parse("class _: 'doc'")
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant):
            node.value = doc
    return ast.unparse(tree).partition("\n")[2].strip()


def _arguments(arguments: ast.arguments, types: StubTypes) -> str:
    """Return the text of a method's arguments, the instance first."""
    positional = [*arguments.posonlyargs, *arguments.args]
    defaults = [*[None] * (len(positional) - len(arguments.defaults)), *arguments.defaults]
    parts = [types.argument(one, default) for one, default in zip(positional, defaults, strict=True)]
    if arguments.posonlyargs:
        parts.insert(len(arguments.posonlyargs), "/")
    if arguments.vararg:
        parts.append(f"*{types.argument(arguments.vararg, None)}")
    elif arguments.kwonlyargs:
        parts.append("*")
    for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        parts.append(types.argument(one, default))
    if arguments.kwarg:
        parts.append(f"**{types.argument(arguments.kwarg, None)}")
    instance = "self"
    while instance in argument_names(arguments):
        instance += "_"
    return ", ".join([instance, *parts])
