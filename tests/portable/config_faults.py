"""What the tests of configurations share: the fault that is expected, with its path."""

from snyper.shared.config import ConfigError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any


def fault(function: "Callable[..., object]", *args: "Any") -> ConfigError:
    """Return the ConfigError that the call raises."""
    try:
        function(*args)
    except ConfigError as error:
        return error
    raise AssertionError("no ConfigError for %r" % (args,))


def check_faults(
    read: "Callable[..., object]", cases: "tuple[tuple[dict[str, Any], str], ...]", *args: "Any"
) -> None:
    """Check that each of `cases`, what is given and the fault's path, is refused with just that path, on one
    line.
    """
    for given, path in cases:
        error = fault(read, given, *args)
        assert error.path == path, (given, error)
        assert str(error).startswith("`%s`: " % path), error
        assert "\n" not in str(error), error
