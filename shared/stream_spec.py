"""The rules for what the samples of a stream are, as both ends check it first. Pure."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

READ_STREAM = "read_stream"
ANNOUNCE_STREAMS = "announce_streams"
LIST_STREAMS = "list_streams"
MARK_STREAM = "mark_stream"
STOP = "stop"  # the status of the item by which a reader ends it

MAX_BLOCK_BYTES = 524_288  # of samples, for a reader that says it takes so many
MAX_STREAMS = 32  # of one source: their specs, without names and units, fit one line
MAX_STREAM_CHARS = 32
MAX_MARKS_BYTES = 360  # of the marks that one block carries, as JSON: the shortest line has 1,024
# Kinds and sizes as numpy writes them: truth values, integers, floats, complex numbers. Its long doubles are
# not the same on every machine.
_KINDS = ("b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16")
_NAME_CHARS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-."
MAX_DIMENSIONS = 4
MAX_VALUES = 65_536  # of one sample
MAX_TEXT_BYTES = 48  # of a channel's name or unit
MAX_SPEC_BYTES = 2_048  # of names and units together: a spec is part of a line
MAX_RATE_HZ = 1_000_000_000
MIN_RATE_HZ = 0.000001  # so that the instants of a block's samples are numbers that every reader holds


def checked_spec(data: "Any") -> "dict[str, Any]":
    """Return the spec that `data` says, with nothing else in it: `dtype`, `shape`, `rate_hz`, `names`,
    `units`. Raises ValueError with what is wrong.
    """
    if type(data) is not dict:
        raise ValueError("a stream's spec is an object")
    shape = data.get("shape", ())
    if not isinstance(shape, (list, tuple)) or len(shape) > MAX_DIMENSIONS:
        raise ValueError("a sample's `shape` has at most %d dimensions" % MAX_DIMENSIONS)
    values = 1
    for length in shape:
        if type(length) is not int or not 0 < length <= MAX_VALUES:
            raise ValueError("a dimension of `shape` is an integer, 1 to %d" % MAX_VALUES)
        values *= length
    if values > MAX_VALUES:
        raise ValueError("`shape` has at most %d values" % MAX_VALUES)
    rate_hz = data.get("rate_hz", 0)
    if type(rate_hz) not in (int, float) or not (rate_hz == 0 or MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ):
        raise ValueError("`rate_hz` is a number, 10^-6 to 10^9, or 0 for samples at any time")
    spec = {"dtype": _checked_dtype(data.get("dtype")), "shape": list(shape), "rate_hz": rate_hz}
    size = 0
    for field in ("names", "units"):
        texts = data.get(field) or ()
        if not isinstance(texts, (list, tuple)) or len(texts) not in (0, values):
            raise ValueError(
                "`%s` has a text for each of the %d values of a sample, or none" % (field, values)
            )
        for text in texts:
            if type(text) is not str or len(text.encode()) > MAX_TEXT_BYTES:
                raise ValueError("a text of `%s` has at most %d bytes" % (field, MAX_TEXT_BYTES))
            size += len(text.encode()) + 3
        spec[field] = list(texts)
    if size > MAX_SPEC_BYTES:
        raise ValueError("`names` and `units` have at most %d bytes together" % MAX_SPEC_BYTES)
    return spec


def brief(spec: "dict[str, Any]") -> "dict[str, Any]":
    """Return a spec without names and units, for where many have to fit one line."""
    return {"dtype": spec["dtype"], "shape": spec["shape"], "rate_hz": spec["rate_hz"]}


def checked_name(name: "Any") -> str:
    """Return a stream's name. Raises ValueError for what is none."""
    if type(name) is not str or not 0 < len(name) <= MAX_STREAM_CHARS or name.strip(_NAME_CHARS):
        raise ValueError("a stream's name is 1 to %d of A-Z a-z 0-9 _ - ." % MAX_STREAM_CHARS)
    return name


def sample_bytes(spec: "dict[str, Any]") -> int:
    """Return how many bytes one sample of a checked spec has."""
    size = int(spec["dtype"][2:])
    for length in spec["shape"]:
        size *= length
    return size


def joined_marks(before: bytes, marks: bytes) -> bytes:
    """Return marks of a block that nobody gets, and those of the next, as JSON without brackets; of more than
    MAX_MARKS_BYTES the latter.
    """
    both = before + b"," + marks if before and marks else before or marks
    return both if len(both) + 2 <= MAX_MARKS_BYTES else marks


def _checked_dtype(dtype: "Any") -> str:
    """Return a dtype as numpy writes it: what has one byte has no order."""
    if type(dtype) is not str or dtype[:1] not in ("<", ">", "|") or dtype[1:] not in _KINDS:
        raise ValueError(
            '`dtype` is a byte order and a kind such as "<f4": < or >, and one of %s' % (_KINDS,)
        )
    if dtype[2:] == "1":
        return "|" + dtype[1:]
    if dtype[0] == "|":
        raise ValueError("`dtype` says the order of its bytes: < or >")
    return dtype
