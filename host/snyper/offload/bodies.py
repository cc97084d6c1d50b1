"""Bodies of JSON, as services of data take them. Pure."""

import json

from snyper.device import strict_json
from snyper.offload.declarations import Service
from snyper.offload.work import InvalidInput


class NoJson(InvalidInput):
    """A body that is no JSON at all."""


def parse_object(content: bytes | bytearray) -> dict[str, object]:
    """Parse a body that is a JSON object. Raises InvalidInput for what is none."""
    try:
        return strict_json.parse_object(content)
    except strict_json.NotAnObject as error:
        raise InvalidInput(str(error)) from None
    except ValueError as error:
        raise NoJson(str(error)) from None


def taken_from(service: Service, content: bytes | bytearray) -> tuple[object, object]:
    """Return what a service takes of a body, and its options. Raises InvalidInput where it is not there."""
    found = parse_object(content)
    if service.takes not in found:
        raise InvalidInput(f"field {service.takes!r} is missing: send {{{json.dumps(service.takes)}: …}}")
    options = found.get("options", {})
    if service.takes_options and not isinstance(options, dict):
        raise InvalidInput("field 'options' is an object, such as {}")
    return found[service.takes], options
