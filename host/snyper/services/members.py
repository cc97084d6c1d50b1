"""The members of a class and their signatures, found without running anything of it. Pure."""

import contextlib
import functools
import inspect
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from snyper.services.naming import key_of

METHOD: Final = "method"
GETTER: Final = "getter"
SETTER: Final = "setter"
FUNCTION: Final = "function"
Kind = Literal["method", "getter", "setter", "function"]
_VERBS: dict[Kind, str] = {GETTER: "get_", SETTER: "set_"}

_WRAPPED_METHODS = (staticmethod, classmethod, functools.partialmethod, functools.singledispatchmethod)
_UNBOUND = (types.BuiltinFunctionType, functools.partial)  # methods too, without being descriptors
_VARIADIC = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
# The order in which a function's code has its arguments.
_IN_CODE = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.KEYWORD_ONLY,
    *_VARIADIC,
)


@dataclass(frozen=True)
class ClassMethod:
    """A public method of a class; `raw` is what stands in the class, a function or what wraps one."""

    name: str
    raw: object
    doc: str

    @property
    def takes_instance(self) -> bool:
        """Whether the instance, or its class, is the first argument."""
        return hasattr(type(self.raw), "__get__") and not isinstance(self.raw, staticmethod)

    @property
    def function(self) -> Any:
        """What is called in the end, as far as that can be known."""
        if isinstance(self.raw, staticmethod | classmethod):
            return self.raw.__func__
        if isinstance(self.raw, functools.partialmethod | functools.singledispatchmethod):
            return self.raw.func
        return self.raw

    def signature(self, resolved: bool = False) -> inspect.Signature | None:
        """Return the signature for who calls it on an instance; None if there is none. See `signature_of`."""
        function = self.function
        if isinstance(self.raw, functools.partialmethod):
            function = self.raw.__get__(None, object)
        signature = signature_of(function, resolved)
        return without_first(signature) if signature is not None and self.takes_instance else signature


@dataclass(frozen=True)
class ClassProperty:
    """A public property of a class, or what behaves so: `raw` is its descriptor."""

    name: str
    raw: object
    doc: str

    @property
    def getter(self) -> object:
        """What reads it: None if nothing does."""
        if isinstance(self.raw, functools.cached_property):
            return self.raw.func
        return self.raw.fget if isinstance(self.raw, property) else self.raw

    @property
    def setter(self) -> object:
        """What sets it: None if nothing does."""
        if isinstance(self.raw, property):
            return self.raw.fset
        return self.raw if hasattr(type(self.raw), "__set__") else None

    def annotation(self, resolved: bool = False) -> object:
        """Return the annotation of its value, or `inspect.Signature.empty`."""
        getter = self.getter
        signature = signature_of(getter, resolved) if callable(getter) else None
        return inspect.Signature.empty if signature is None else signature.return_annotation

    def setter_annotation(self, resolved: bool = False) -> object:
        """Return the annotation of what can be assigned, or `inspect.Signature.empty`."""
        signature = signature_of(self.setter, resolved) if callable(self.setter) else None
        parameters = [] if signature is None else list(signature.parameters.values())
        return parameters[1].annotation if len(parameters) > 1 else self.annotation(resolved)

    def signature(self, kind: Kind, resolved: bool = False) -> inspect.Signature:
        """Return the signature of its getter or setter for who calls it."""
        if kind == GETTER:
            return inspect.Signature(return_annotation=self.annotation(resolved))
        value = inspect.Parameter(
            "value",
            inspect.Parameter.POSITIONAL_OR_KEYWORD,
            annotation=self.setter_annotation(resolved),
        )
        return inspect.Signature([value], return_annotation=None)


@dataclass(frozen=True)
class ClassConstant:
    """A public attribute of a class that is the same for all instances."""

    name: str
    value: object


ClassMember = ClassMethod | ClassProperty | ClassConstant


@dataclass(frozen=True)
class Command:
    """The name under which a member of a class is called, and what that does."""

    name: str
    kind: Kind
    member: ClassMethod | ClassProperty
    title: str  # what it is, in words for an error
    attribute: str = ""  # of a getter and a setter: the property as a client shows it

    def signature(self, resolved: bool = False) -> inspect.Signature | None:
        """Return the signature for who calls it; None if there is none. See `signature_of`."""
        if isinstance(self.member, ClassProperty):
            return self.member.signature(self.kind, resolved)
        return self.member.signature(resolved)


def class_members(of: type) -> list[ClassMember]:
    """Return the public members of a class, also inherited ones, those of the bases first."""
    raws: dict[str, object] = {}
    docs: dict[str, str] = {}
    for cls in reversed(of.__mro__):
        for name, raw in vars(cls).items():
            if not name.startswith("_"):
                raws[name] = raw
                docs[name] = doc_of(raw) or docs.get(name, "")
    fields = inspect.getattr_static(of, "__dataclass_fields__", {})
    return [member for name, raw in raws.items() for member in _member(name, raw, docs[name], name in fields)]


def data_names(of: type) -> set[str]:
    """Return the public names that a class says its instances have as data, each its own: fields of a
    dataclass, slots, and what is annotated without a value.
    """
    names: set[str] = set(inspect.getattr_static(of, "__dataclass_fields__", ()))
    for cls in of.__mro__:
        with contextlib.suppress(Exception):  # what an annotation raises that is evaluated at last
            names.update(inspect.get_annotations(cls))
        names.update(name for name, raw in vars(cls).items() if isinstance(raw, types.MemberDescriptorType))
    names.difference_update(member.name for member in class_members(of))
    return {name for name in names if not name.startswith("_")}


def _member(name: str, raw: object, doc: str, is_field: bool) -> Iterator[ClassMember]:
    is_descriptor = hasattr(type(raw), "__get__") and not isinstance(raw, type)
    if isinstance(raw, types.MemberDescriptorType):  # the data of an instance that has slots
        return
    if isinstance(raw, (*_WRAPPED_METHODS, *_UNBOUND)) or (
        is_descriptor and callable(raw) and not hasattr(type(raw), "__set__")
    ):
        yield ClassMethod(name, raw, doc)
    elif is_descriptor:
        yield ClassProperty(name, raw, doc)
    elif not is_field:  # whose value in the class is only where its instances begin
        yield ClassConstant(name, raw)


def commands_of(of: type, prefix: str = "") -> list[Command]:
    """Return the commands that the members of a class are.

    What is one thing under two names that are equal in lower case is one command. So `range =
    property(get_range, set_range)` has `get_range` once, and that is the property's getter.
    """
    members = class_members(of)
    commands: dict[tuple[str, int], Command] = {}
    for member in members:
        if isinstance(member, ClassMethod):
            found = Command(prefix + member.name, METHOD, member, f"{of.__name__}.{member.name}")
            commands.setdefault((key_of(found.name), id(member.raw)), found)
    for member in members:
        if isinstance(member, ClassProperty):
            attribute, title = prefix + member.name, f"the property {of.__name__}.{member.name}"
            accessors: dict[Kind, object] = {GETTER: member.getter, SETTER: member.setter}
            for kind, raw in accessors.items():
                if raw is not None:
                    name = f"{_VERBS[kind]}{attribute}"
                    key = (key_of(name), id(raw))
                    found = commands.get(key, Command(name, kind, member, title))
                    commands[key] = replace(found, kind=kind, title=title, attribute=attribute)
    return list(commands.values())


def doc_of(item: object) -> str:
    """Return the docstring that is the item's own, not its type's, without its indentation."""
    doc = getattr(item, "__doc__", None)
    return inspect.cleandoc(doc) if isinstance(doc, str) and doc != type(item).__doc__ else ""


def signature_of(function: Any, resolved: bool = False) -> inspect.Signature | None:
    """Return the signature of a function; None if it has none, as some that are written in C.

    A decorator that passes on whatever it gets has the signature of what it wraps; one that names arguments
    of its own is taken at its word. `resolved`: annotations that are text are evaluated in the function's
    module where that works.
    """
    try:
        inner = inspect.unwrap(function, stop=_has_arguments_of_its_own)
    except ValueError:  # it wraps itself
        return None
    signature = _own_signature(inner, resolved)
    return _own_signature(inner) if signature is None else signature


def _own_signature(function: Any, resolved: bool = False) -> inspect.Signature | None:
    try:
        return inspect.signature(function, follow_wrapped=False, eval_str=resolved)
    except Exception:  # whatever an annotation raises, or an object of others that is asked for its signature
        return None


def _has_arguments_of_its_own(function: Any) -> bool:
    signature = _own_signature(function)
    if signature is None:
        return False
    kinds = [parameter.kind for parameter in signature.parameters.values()]
    named = [kind for kind in kinds if kind not in _VARIADIC]
    is_fixed = len(named) == len(kinds) or inspect.Parameter.KEYWORD_ONLY in named
    # The one may be the instance.
    return hasattr(function, "__signature__") or is_fixed or len(named) > 1


def without_first(signature: inspect.Signature) -> inspect.Signature:
    """Return the signature without its first argument, the instance. That may be one of `*args`."""
    parameters = list(signature.parameters.values())
    if parameters and parameters[0].kind not in _VARIADIC:
        del parameters[0]
    return signature.replace(parameters=parameters)


def with_instance(signature: inspect.Signature) -> inspect.Signature:
    """Return the signature of the method in its class: with the instance before its arguments."""
    parameters = list(signature.parameters.values())
    is_positional = any(one.kind is inspect.Parameter.POSITIONAL_ONLY for one in parameters)
    instance = inspect.Parameter(
        "self_" if "self" in signature.parameters else "self",
        inspect.Parameter.POSITIONAL_ONLY if is_positional else inspect.Parameter.POSITIONAL_OR_KEYWORD,
    )
    return signature.replace(parameters=[instance, *parameters])


def checker(signature: inspect.Signature, name: str) -> Callable[..., None]:
    """Make a function that does nothing and takes just what `signature` allows.

    So it is Python itself that raises the TypeError, in the words that it has for the function called `name`.
    """
    parameters = sorted(signature.parameters.values(), key=lambda one: _IN_CODE.index(one.kind))
    kinds = [one.kind for one in parameters]
    positional_only, keyword_only = (
        kinds.count(kind) for kind in (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.KEYWORD_ONLY)
    )
    flags = _nothing.__code__.co_flags
    for kind, flag in zip(_VARIADIC, (inspect.CO_VARARGS, inspect.CO_VARKEYWORDS), strict=True):
        flags |= flag if kind in kinds else 0
    code = _nothing.__code__.replace(
        co_name=name.rpartition(".")[2],
        co_qualname=name,
        co_flags=flags,
        co_argcount=positional_only + kinds.count(inspect.Parameter.POSITIONAL_OR_KEYWORD),
        co_posonlyargcount=positional_only,
        co_kwonlyargcount=keyword_only,
        co_nlocals=len(parameters),
        co_varnames=tuple(one.name for one in parameters),
    )
    optional = [one for one in parameters if one.default is not inspect.Parameter.empty]
    by_keyword = {one.name: None for one in optional if one.kind is inspect.Parameter.KEYWORD_ONLY}
    check = types.FunctionType(code, {}, code.co_name, (None,) * (len(optional) - len(by_keyword)))
    check.__kwdefaults__ = by_keyword
    return check


def _nothing() -> None:
    pass
