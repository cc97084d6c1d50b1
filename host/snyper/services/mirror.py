"""Classes as a client shows them: their methods and properties, each a call. Pure."""

import functools
import inspect
import reprlib
import threading
from collections.abc import Callable, Sequence
from typing import Any, cast

from snyper.services.members import (
    ClassConstant,
    ClassMethod,
    ClassProperty,
    checker,
    class_members,
    commands_of,
    data_names,
    with_instance,
)
from snyper.services.naming import NameTable


def mirror(base: type, items: Sequence[type | tuple[type, str]], is_async: bool = False) -> type:
    """Make a subclass of `base` that shows the methods and properties of classes, each with its prefix.

    A method raises the TypeError of the class's own for wrong arguments, and else returns `base.call(name,
    ...)` with the arguments as they were given. A property is read by `call("get_NAME")` and set by
    `call("set_NAME", value)`; with `is_async` an assignment, which nobody can await, raises AttributeError.
    Constants of a class are shown as they are, where they hide nothing else. What a class says to be data of
    its instances raises AttributeError. No other name can be set but those with a leading underscore.

    The server's signatures decide: of a method whose name is in the client's attribute `_skewed`, if it has
    one, arguments that the class would not take are sent all the same.

    Raises TypeError for an item that is no class, and ValueError where two names are equal in lower case or
    one is reserved.
    """
    names = NameTable()
    shown: dict[str, object] = {}
    constants: dict[str, object] = {}
    data: set[str] = set()
    classes = [class_and_prefix(item) for item in items]
    for cls, prefix in classes:
        names.claim_all(commands_of(cls, prefix))
        for member in class_members(cls):
            name = prefix + member.name
            if isinstance(member, ClassMethod):
                shown[name] = _method(cls, member, name)
            elif isinstance(member, ClassProperty):
                shown[name] = _property(member, name, is_async)
    for cls, prefix in classes:
        for member in class_members(cls):
            name = prefix + member.name
            if isinstance(member, ClassConstant) and name not in names and not hasattr(base, name):
                constants.setdefault(name, member.value)
        data.update(name for own in data_names(cls) if (name := prefix + own) not in names)
    return _subclass(base, shown, constants, data, [cls.__doc__ for cls, _prefix in classes if cls.__doc__])


def class_and_prefix(item: object) -> tuple[type, str]:
    """Return the class and the prefix that an item is; without one, an empty prefix. Raises TypeError."""
    cls, prefix = item if isinstance(item, tuple) and len(item) == 2 else (item, "")
    if isinstance(cls, type) and isinstance(prefix, str):
        return cls, prefix
    raise TypeError(f'{reprlib.repr(item)} is no class, nor a class with a prefix, (Powermeter, "pump_")')


def _subclass(
    base: Any, shown: dict[str, object], constants: dict[str, object], data: set[str], docs: list[str]
) -> type:
    class Strict(base):  # type: ignore[misc]
        def __setattr__(self, name: str, value: Any) -> None:
            raw = inspect.getattr_static(type(self), name, None)
            if not name.startswith("_") and not hasattr(type(raw), "__set__"):
                raise AttributeError(
                    f"no class that {type(self).__name__} was given has a property {name!r} to set; "
                    f"if the server has one, call set_{name}({reprlib.repr(value)})"
                )
            super().__setattr__(name, value)

        if hasattr(base, "__getattr__"):

            def __getattr__(self, name: str) -> Any:
                """Look further for a name, but not for a property that has raised AttributeError."""
                last = getattr(_raised, "last", None)
                if last is not None and last[0] == name:
                    del _raised.last
                    raise last[1]
                if name in _PROBED:
                    raise AttributeError(
                        f'{name} is what tools ask of any object; call("{name}") asks the server'
                    )
                if name in data:
                    raise AttributeError(
                        f"{name} is data of an instance, which is not served: make it a property there"
                    )
                return super().__getattr__(name)

    made: Any = type(base)(base.__name__, (Strict,), shown)
    made.__module__, made.__qualname__ = base.__module__, base.__qualname__
    made.__doc__ = docs[0] if len(docs) == 1 else base.__doc__
    for name, value in constants.items():
        setattr(made, name, value)  # not in the class's body, where it would be told that this has it too
    return cast(type, made)


# Public names that tools look up in any object and call: IPython for `pm?`, and older ones for `pm.<TAB>`.
_PROBED = frozenset(("getdoc", "trait_names"))

# Of each thread the last property that raised AttributeError, with that: Python asks `__getattr__` next.
_raised = threading.local()


def _method(cls: type, member: ClassMethod, name: str) -> Callable[..., Any]:
    signature = member.signature()
    qualname = getattr(member.function, "__qualname__", f"{cls.__name__}.{member.name}")
    if signature is None:

        def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            return self.call(name, *args, **kwargs)

    elif member.takes_instance:
        check = checker(with_instance(signature), qualname)

        def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            try:
                check(self, *args, **kwargs)
            except TypeError:
                if name not in getattr(self, "_skewed", ()):
                    raise
            return self.call(name, *args, **kwargs)

    else:
        check = checker(signature, qualname)

        def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
            try:
                check(*args, **kwargs)
            except TypeError:
                if name not in getattr(self, "_skewed", ()):
                    raise
            return self.call(name, *args, **kwargs)

    described: Any = functools.update_wrapper(method, member.function)
    described.__name__, described.__qualname__ = name, f"{cls.__name__}.{name}"
    described.__doc__ = member.doc or None
    if signature is not None:
        described.__signature__ = with_instance(signature)
    return method


def _property(member: ClassProperty, name: str, is_async: bool) -> property:
    read_command, write_command = f"get_{name}", f"set_{name}"

    def read(self: Any) -> Any:
        try:
            if member.getter is None:
                raise AttributeError(f"property {name!r} of {type(self).__name__!r} object has no getter")
            return self.call(read_command)
        except AttributeError as error:
            _raised.last = name, error
            raise

    def write(self: Any, value: Any) -> None:
        if is_async:
            raise AttributeError(
                f"an assignment cannot be awaited: await client.set_{name}({reprlib.repr(value)})"
            )
        self.call(write_command, value)

    annotation = member.annotation()
    if annotation is not inspect.Signature.empty and not is_async:
        read.__annotations__["return"] = annotation
    return property(read, write if member.setter is not None else None, doc=member.doc or None)
