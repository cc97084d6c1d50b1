"""The differences between a class that a client has and what its server serves. Pure."""

import ast
from collections.abc import Mapping, Sequence

from snyper.services.members import commands_of
from snyper.services.mirror import class_and_prefix
from snyper.services.naming import key_of
from snyper.services.signature_text import parse_signature, signature_text


def differences(
    items: Sequence[type | tuple[type, str]], described: Sequence[Mapping[str, object]]
) -> dict[str, str]:
    """Return each name of the classes that the server has not, or has with other arguments, and words for it.

    `items` are those of `mirror`, `described` is what `Surface.describe` returns there. Annotations may
    differ.
    """
    there = {
        key_of(one["name"]): one.get("signature")
        for one in described
        if isinstance(one, dict) and isinstance(one.get("name"), str)
    }
    found: dict[str, str] = {}
    for item in items:
        for command in commands_of(*class_and_prefix(item)):
            key = key_of(command.name)
            ours = _arguments(signature_text(command.signature()))
            theirs = _arguments(there.get(key))
            if key not in there:
                found[command.name] = f"{command.name} is not served"
            elif None not in (ours, theirs) and ours != theirs:
                found[command.name] = f"{command.name}({ours}) is ({theirs}) there"
    return found


def _arguments(signature: object) -> str | None:
    """Return the arguments of a signature without their types; None if nobody knows them."""
    if not isinstance(signature, str):
        return None
    arguments = parse_signature(signature).args
    for one in ast.walk(arguments):
        if isinstance(one, ast.arg):
            one.annotation = None
    return ast.unparse(arguments)
