"""Units out of the names that end in them. Pure."""

_UNITS = {"ms": "ms", "s": "s", "us": "µs", "percent": "%"}


def split_unit(name: str) -> tuple[str, str]:
    """Split `duration_ms` into what people read: ("Duration", "ms")."""
    words, _, last = name.rpartition("_")
    if words and last in _UNITS:
        return words.replace("_", " ").capitalize(), _UNITS[last]
    return name.replace("_", " ").capitalize(), ""
