"""Figures of a few times, in whole milliseconds. Pure."""


def median(times_ms: "list[int]") -> int:
    """The one in the middle, of two the mean; 0 of none."""
    if not times_ms:
        return 0
    ordered = sorted(times_ms)
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) // 2


def spread(times_ms: "list[int]") -> int:
    """How far apart the times are between which the middle half of them lies; 0 of fewer than two."""
    if not times_ms:
        return 0
    ordered = sorted(times_ms)
    quarter = (len(ordered) - 1) // 4
    return ordered[-1 - quarter] - ordered[quarter]
