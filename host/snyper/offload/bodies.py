"""Bodies of JSON, as services of data take them. Pure."""

import json

from snyper.offload.declarations import Service
from snyper.offload.work import InvalidInput
from snyper.system.strict_json import parse_strictly


class NoJson(InvalidInput):
    """A body that is no JSON at all."""


def parse_object(content: bytes | bytearray) -> dict[str, object]:
    """Parse a body that is a JSON object. Raises InvalidInput for what is none."""
    try:
        value = parse_strictly(content)
    except ValueError as error:  # UnicodeDecodeError is one
        raise NoJson(f"the body is no JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidInput("the body is JSON, and no object: send {…}")
    return value


def taken_from(service: Service, content: bytes | bytearray) -> tuple[object, object]:
    """Return what a service takes of a body, and its options. Raises InvalidInput where it is not there."""
    found = parse_object(content)
    if service.takes not in found:
        raise InvalidInput(f"field {service.takes!r} is missing: send {{{json.dumps(service.takes)}: …}}")
    options = found.get("options", {})
    if service.takes_options and not isinstance(options, dict):
        raise InvalidInput("field 'options' is an object, such as {}")
    return found[service.takes], options
