"""What a stream's samples may be, and what is refused."""

from dataclasses import FrozenInstanceError
from typing import Any

import numpy
import pytest

from snyper.shared.stream_source import Sources
from snyper.shared.stream_spec import checked_spec, sample_bytes
from snyper.streams import Block, StreamSpec


@pytest.mark.parametrize(
    "kind", ["b1", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8", "c8", "c16"]
)
@pytest.mark.parametrize("order", "<>")
def test_a_dtype_is_as_numpy_writes_it(order: str, kind: str) -> None:
    spec = StreamSpec(order + kind, (2, 3), 10)
    assert numpy.dtype(order + kind).str in (spec.dtype, spec.dtype.replace("<", "=").replace(">", "="))
    assert spec.sample_bytes == sample_bytes(spec.to_data()) == numpy.dtype((order + kind, (2, 3))).itemsize
    assert StreamSpec.from_data(spec.to_data()) == spec


@pytest.mark.parametrize(
    "wrong",
    [
        {"dtype": "<f16"},
        {"dtype": "|O"},
        {"dtype": "f4"},
        {"dtype": "=f4"},
        {"dtype": "|f4"},
        {"dtype": "<U4"},
        {"dtype": 4},
        {"dtype": None},
        {"shape": 3},
        {"shape": [1] * 5},
        {"shape": [0]},
        {"shape": [-1]},
        {"shape": [True]},
        {"shape": [1.0]},
        {"shape": [1 << 80]},
        {"shape": [256, 257]},
        {"rate_hz": -1},
        {"rate_hz": 5e-324},
        {"rate_hz": 1e-7},
        {"rate_hz": float("nan")},
        {"rate_hz": float("inf")},
        {"rate_hz": True},
        {"rate_hz": "400"},
        {"names": ["x"]},
        {"names": "xyz"},
        {"names": ["x", "y", 3]},
        {"units": ["m" * 49, "", ""]},
    ],
)
def test_what_is_no_spec_is_refused(wrong: dict[str, Any]) -> None:
    right = {"dtype": "<f4", "shape": [3], "rate_hz": 400, "names": ["x", "y", "z"], "units": []}
    assert checked_spec(right) == right
    with pytest.raises(ValueError, match=next(iter(wrong))):
        checked_spec(right | wrong)


def test_names_and_units_fit_a_line_together() -> None:
    texts = ["x" * 20] * 60
    with pytest.raises(ValueError, match="together"):
        StreamSpec("<f4", (60,), 1, tuple(texts), tuple(texts))


def test_a_block_says_what_comes_after_it() -> None:
    block = Block("e", 7, numpy.zeros((3, 2), "<i2"), at_us=1_500, uncertainty_us=10, source_us=1_000)
    assert (block.next_seq, block.offset_us) == (10, 500)
    with pytest.raises(FrozenInstanceError):
        block.seq = 8  # type: ignore[misc]


@pytest.mark.parametrize("dtype", [numpy.float32, numpy.dtype("<f4"), numpy.dtype(numpy.float32), "<f4"])
@pytest.mark.parametrize("shape", [3, numpy.int64(3), (3,), [numpy.int32(3)]])
@pytest.mark.parametrize("rate_hz", [numpy.float64(4), numpy.float32(4), numpy.int64(4), 4])
def test_a_source_says_its_spec_as_numpy_does(dtype: Any, shape: Any, rate_hz: Any) -> None:
    spec = Sources().open("s", {"dtype": dtype, "shape": shape, "rate_hz": rate_hz}, 0).spec
    assert (spec["dtype"], spec["shape"], spec["rate_hz"]) == ("<f4", [3], 4)
    assert type(spec["rate_hz"]) in (int, float)
    assert type(spec["shape"][0]) is int


@pytest.mark.parametrize(
    "wrong",
    [{"dtype": "float32"}, {"dtype": object}, {"dtype": numpy.str_}, {"shape": "3"}, {"rate_hz": True}],
)
def test_what_not_even_numpy_says_is_refused_by_a_source(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Sources().open("s", {"dtype": "<f4"} | wrong, 0)


@pytest.mark.parametrize(
    "samples",
    [
        numpy.array([None, "x"], object),
        numpy.zeros(2, [("a", "<u8")]),
        numpy.zeros(2, [("a", "|u1")]),
        numpy.zeros(2, "U2"),
        numpy.zeros(2, "S8"),
        numpy.zeros(2, numpy.longdouble),
    ],
)
@pytest.mark.parametrize("dtype", ["<u8", "|u1"])
async def test_items_that_are_no_numbers_are_refused(samples: Any, dtype: str) -> None:
    stream = Sources().open("s", {"dtype": dtype}, 0)
    with pytest.raises(TypeError, match="a stream takes numbers"):
        await stream.send(samples)
    assert stream.seq == 0
    await stream.send(numpy.zeros(2, dtype))
    assert stream.seq == 2
