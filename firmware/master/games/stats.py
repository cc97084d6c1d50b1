"""Statistics of a few times, in whole milliseconds; None where so few of them say nothing. Pure."""


def best(times_ms: "list[int]") -> "int | None":
    """Return the shortest time; None of none."""
    return min(times_ms) if times_ms else None


def median(times_ms: "list[int]") -> "int | None":
    """Return the time in the middle, of two the mean; None of none."""
    if not times_ms:
        return None
    ordered = sorted(times_ms)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) // 2


def spread(times_ms: "list[int]") -> "int | None":
    """Return the interquartile range, in which the middle half of the times lies; None of fewer than two."""
    if len(times_ms) < 2:
        return None
    ordered = sorted(times_ms)
    quarter = (len(ordered) - 1) // 4
    return ordered[-1 - quarter] - ordered[quarter]
