"""The rules of served names: how they are compared, and which are taken. Pure."""

import functools
import unicodedata
from collections.abc import Iterable
from keyword import iskeyword
from typing import Protocol

# What a client shows of its own. All else of it is underscored, or a function that takes it.
RESERVED = frozenset(("call", "help", "close"))

_WAY_OUT = (
    'give an instance a prefix, (pm, "pump_"), a function another name, (f, "name"), or take single methods, '
    '(pm.read, "read")'
)


def as_read(name: str) -> str:
    """Return an identifier as Python's parser reads it: a micro sign that was typed is the letter mu."""
    return name if name.isascii() else unicodedata.normalize("NFKC", name)


@functools.lru_cache(1_000)
def key_of(name: str) -> str:
    """Return the form of a name by which both ends compare it: in lower case, as Python reads it."""
    return as_read(name).lower()


class Named(Protocol):
    """A command with its name, that of its property if it is of one, and words for an error."""

    @property
    def name(self) -> str: ...

    @property
    def attribute(self) -> str: ...

    @property
    def title(self) -> str: ...


class NameTable:
    """The names that are taken, each with what took it."""

    def __init__(self) -> None:
        self._takers: dict[str, str] = {}

    def __contains__(self, name: str) -> bool:
        return key_of(name) in self._takers

    def claim_all(self, commands: Iterable[Named]) -> None:
        """Take the names of commands, and those of the properties that they read and set.

        Raises ValueError if one cannot be taken; see `claim`.
        """
        commands = list(commands)
        for command in commands:
            self.claim(command.name, command.title)
        for attribute, title in dict.fromkeys(
            (one.attribute, one.title) for one in commands if one.attribute
        ):
            self.claim(attribute, title)

    def claim(self, name: str, taker: str) -> None:
        """Take a name for `taker`, words such as 'Powermeter.read'.

        Raises ValueError with what to do if it is no identifier, has a leading underscore, or equals in lower
        case a reserved or a taken one.
        """
        key = key_of(name)
        if name.startswith("_"):
            raise ValueError(
                f"{taker} cannot be {name!r}: what begins with an underscore is never served; {_WAY_OUT}"
            )
        if not name.isidentifier() or iskeyword(as_read(name)):
            raise ValueError(f"{taker} cannot be {name!r}: nobody could write client.{name}; {_WAY_OUT}")
        if key in RESERVED:
            raise ValueError(f"{taker} cannot be {name!r}: a client's own {key}() is called so; {_WAY_OUT}")
        if key in self._takers:
            raise ValueError(
                f"{taker} and {self._takers[key]} would both be {key!r}: names are compared in lower case; "
                f"{_WAY_OUT}"
            )
        self._takers[key] = taker
