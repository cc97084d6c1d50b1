"""The names that a server serves: what each does, its signature, its documentation. Pure."""

import difflib
import functools
import inspect
import reprlib
import types
from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

from snyper.services.members import (
    FUNCTION,
    GETTER,
    METHOD,
    SETTER,
    ClassMethod,
    Command,
    Kind,
    commands_of,
    doc_of,
    signature_of,
    without_first,
)
from snyper.services.naming import NameTable, key_of
from snyper.services.remote_exceptions import NotServed
from snyper.services.signature_text import signature_text

__all__ = ["FUNCTION", "GETTER", "METHOD", "SETTER", "Member", "Surface"]


# Names that are longer than any are not compared with those that there are: a stranger may send a megabyte.
_MAX_SOUGHT = 100


@dataclass(frozen=True, eq=False)
class Member:
    """A name that can be called.

    `title` is what it is, in words for an error. `owner` is the instance that it belongs to, None for a plain
    function. `invoke` calls it: wrong arguments raise the TypeError of the function itself, before that runs.
    `signature` is None where Python knows none. `is_async` and `is_generator` are true where the function
    says so by its definition; one that only returns an awaitable does not.
    """

    name: str
    kind: Kind
    title: str
    owner: object
    invoke: Callable[..., Any]
    signature: inspect.Signature | None
    signature_text: str | None
    doc: str
    attribute: str = ""  # of a getter or a setter: the name of the property
    class_name: str = ""
    prefix: str = ""
    is_async: bool = False
    is_generator: bool = False
    uses: tuple[object, ...] | None = None  # the instances that a function names, if it does


class Surface:
    """The names that a server serves. One thread at a time may change them; any may ask meanwhile."""

    def __init__(self) -> None:
        self._items: list[tuple[object, str, list[Member]]] = []
        self._members: dict[str, Member] = {}

    def add(
        self, item: object, name: str | None = None, uses: Sequence[object] | Set[object] | None = None
    ) -> None:
        """Serve a function, or the public methods and properties of an instance.

        `name` is the function's, by default its own; for an instance it is a prefix. `uses` are the instances
        that a plain function needs, where that is not all. Runs nothing of the item.

        Raises ValueError if a name cannot be served, or equals another one in lower case, or an instance of
        `uses` is not served, and TypeError if the item is neither a function nor an instance, or `uses` is
        not for it. Then nothing of it is served.
        """
        if not isinstance(name, str | None):
            raise TypeError(f"a name is text, not {name!r}")
        members = list(_members_of(item, name or ""))
        if uses is not None:
            self._check_uses(members, uses)
            members = [replace(member, uses=tuple(uses)) for member in members]
        items = [*self._items, (item, name or "", members)]
        self._members = _table(items)
        self._items = items

    def remove(self, item_or_name: object) -> None:
        """Serve an item no longer, or what is called so: a function, property, method, or all with a prefix.

        Raises ValueError if there is none.
        """
        if isinstance(item_or_name, str):
            key = key_of(item_or_name)
            items = [
                (item, name, [one for one in members if key not in (key_of(one.name), key_of(one.attribute))])
                for item, name, members in self._items
                if not (name and key_of(name) == key)
            ]
        else:
            items = [entry for entry in self._items if not _is_same(entry[0], item_or_name)]
        items = [entry for entry in items if entry[2]]
        members = _table(items)
        if len(members) == len(self._members):
            raise ValueError(str(self._missing(item_or_name)))
        self._items, self._members = items, members

    def find(self, name: str) -> Member:
        """Return what is called so, in whatever case. Raises NotServed if nothing is."""
        member = self._members.get(key_of(name))
        if member is None:
            raise self._missing(name)
        return member

    def find_all(self, name: str) -> list[Member]:
        """Return what has that prefix, or is called so, a property too. Raises NotServed if nothing is."""
        key = key_of(name)
        members = self._members.values()
        with_prefix = [one for one in members if key_of(one.prefix) == key]
        found = with_prefix or [one for one in members if key in (key_of(one.name), key_of(one.attribute))]
        if not found:
            raise self._missing(name)
        return found

    def find_read(self, name: str) -> Member:
        """Return what reads the property of that name, or else what is called so. Raises NotServed."""
        key = key_of(name)
        of_property = [
            one for one in self._members.values() if (one.kind, key_of(one.attribute)) == (GETTER, key)
        ]
        return of_property[0] if of_property else self.find(name)

    def owners(self) -> list[object]:
        """Return the instances that are served."""
        owners = (one.owner for one in self._members.values() if one.owner is not None)
        return list({id(owner): owner for owner in owners}.values())

    def members(self) -> list[Member]:
        """Return all that is served, in the order in which it was added."""
        return list(self._members.values())

    def calls(self) -> list[str]:
        """Return the names of functions and methods, in the order in which they were added."""
        return [one.name for one in self._members.values() if one.kind in (FUNCTION, METHOD)]

    def properties(self) -> list[str]:
        """Return the names of properties, which are called as `get_NAME` and `set_NAME`."""
        return list(dict.fromkeys(one.attribute for one in self._members.values() if one.attribute))

    def help_text(self, name: str | None = None) -> str:
        """Return what `help()` shows: the names, or of one its docstring."""
        if name is None:
            return f"Available calls: {self.calls()}\nAvailable properties: {self.properties()}"
        key = key_of(name)
        for one in self._members.values():
            if key in (key_of(one.name), key_of(one.attribute)):
                return one.doc or f"Command {name!r} has no docstring."
        return str(NotServed(name))

    def describe(self) -> list[dict[str, object]]:
        """Return a JSON object for each name, with what a client or a stub needs to know of it.

        `signature` is text such as `(samples: int = 20) -> float`, which Python parses: defaults that are no
        literals are `...`, annotations that have no name are left out. It is None where Python knows none.
        """
        return [
            {
                "name": one.name,
                "kind": one.kind,
                "signature": one.signature_text,
                "doc": one.doc,
                "class": one.class_name,
                "prefix": one.prefix,
                "property": one.attribute,
                "async": one.is_async,
                "generator": one.is_generator,
            }
            for one in self._members.values()
        ]

    def _check_uses(self, members: list[Member], uses: object) -> None:
        for member in members:
            if member.owner is not None:
                raise TypeError(
                    f"{member.title} has its own instance to itself: only a plain function says what it uses"
                )
        if not isinstance(uses, list | tuple | set | frozenset) or any(isinstance(one, str) for one in uses):
            raise TypeError("uses takes instances in a tuple or a list: uses=(pm,), or uses=() for none")
        for used in uses:
            if not any(used is owner for owner in self.owners()):
                kind = type(used).__name__
                raise ValueError(
                    f"{members[0].title} uses {_article(kind)} that is not served: register it first"
                )

    def _missing(self, name: object) -> NotServed:
        if not isinstance(name, str):
            return NotServed(reprlib.repr(name))
        key = key_of(name)
        accessors = [one.name for one in self._members.values() if key_of(one.attribute) == key != ""]
        near = difflib.get_close_matches(key[:_MAX_SOUGHT], self._members, n=1)
        if accessors:
            return NotServed(name, f"It is a property: {' and '.join(f'{one}()' for one in accessors)}.")
        return NotServed(name, f"Did you mean {self._members[near[0]].name!r}?" if near else "")


def _table(items: list[tuple[object, str, list[Member]]]) -> dict[str, Member]:
    names = NameTable()
    members = [member for _item, _name, some in items for member in some]
    names.claim_all(members)
    return {key_of(member.name): member for member in members}


def _is_same(item: object, other: object) -> bool:
    if isinstance(item, types.MethodType):  # which is another object each time that it is asked for
        return isinstance(other, types.MethodType) and item == other
    return item is other


def _members_of(item: Any, name: str) -> Iterator[Member]:
    kind = type(item)
    if isinstance(item, types.ModuleType):
        raise TypeError(f"a module cannot be served: give functions of it, {item.__name__}.FUNCTION")
    if isinstance(item, type):
        raise TypeError(f"{item.__name__} is a class: give an instance of it, such as {item.__name__}()")
    if _is_function(item):
        yield _function(item, name)
        return
    commands = commands_of(kind, name)
    if kind.__module__ == "builtins" or not (commands or callable(item)):
        raise TypeError(
            f"{_article(kind.__name__)} cannot be served: give functions, and instances with public methods "
            'or properties; or either with a name, (f, "name")'
        )
    if not commands:
        yield _function(item, name)
    for command in commands:
        yield _member(item, name, command)


def _article(name: str) -> str:
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _is_function(item: object) -> bool:
    """Return whether it is called by a name of its own, as what `def` makes, or a `partial`."""
    if isinstance(item, functools.partial | types.MethodType):
        return True
    return callable(item) and inspect.getattr_static(item, "__name__", None) is not None


def _function(item: Any, name: str) -> Member:
    is_partial = isinstance(item, functools.partial)
    own_name = item.__name__ if _is_function(item) and not is_partial else ""
    if not name and own_name in ("", "<lambda>"):
        what = own_name.strip("<>") or type(item).__name__
        raise ValueError(f'{_article(what)} has no name of its own: give it one, (f, "name")')
    called = item
    while isinstance(called, functools.partial):
        called = called.func
    doc = doc_of(called)
    if _is_function(called):
        signature, resolved = (signature_of(item, one) for one in (False, True))
    else:  # an instance that can be called. If it were asked itself, it might ask its device
        doc = doc_of(type(called).__call__) or inspect.cleandoc(type(called).__doc__ or "")
        called = type(called).__call__
        bound = None if is_partial else [signature_of(called, one) for one in (False, True)]
        signature, resolved = (one and without_first(one) for one in bound or (None, None))
    owner = _instance_of(item)
    return Member(
        name=name or own_name,
        kind=FUNCTION if owner is None else METHOD,
        title=f"the function {own_name or name}",
        owner=owner,
        invoke=item,
        signature=signature,
        signature_text=signature_text(resolved),
        doc=doc,
        is_async=_is_async(called),
        is_generator=_is_generator(called),
    )


def _instance_of(item: Any) -> object:
    """Return the instance that a bound method belongs to; None for another function."""
    owner = item.__self__ if isinstance(item, types.MethodType | types.BuiltinMethodType) else None
    return None if isinstance(owner, type | types.ModuleType) else owner


def _is_async(function: object) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def _is_generator(function: object) -> bool:
    return inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function)


def _member(owner: Any, prefix: str, command: Command) -> Member:
    member, kind = command.member, command.kind
    if isinstance(member, ClassMethod):
        invoke, function = _calling(owner, member.name), member.function
    else:
        accessor = _getting if kind == GETTER else _setting
        invoke, function = accessor(owner, member.name), member.getter if kind == GETTER else member.setter
    return Member(
        name=command.name,
        kind=kind,
        title=command.title,
        owner=owner,
        invoke=invoke,
        signature=command.signature(),
        signature_text=signature_text(command.signature(resolved=True)),
        doc=member.doc,
        attribute=command.attribute,
        class_name=type(owner).__name__,
        prefix=prefix,
        is_async=_is_async(function),
        is_generator=_is_generator(function),
    )


def _calling(owner: Any, name: str) -> Callable[..., Any]:
    def invoke(*args: Any, **kwargs: Any) -> Any:
        return getattr(owner, name)(*args, **kwargs)

    return invoke


def _getting(owner: Any, name: str) -> Callable[..., Any]:
    def invoke() -> Any:
        return getattr(owner, name)

    invoke.__qualname__ = f"{type(owner).__name__}.get_{name}"
    return invoke


def _setting(owner: Any, name: str) -> Callable[..., Any]:
    def invoke(value: Any) -> None:
        setattr(owner, name, value)

    invoke.__qualname__ = f"{type(owner).__name__}.set_{name}"
    return invoke
