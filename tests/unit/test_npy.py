"""Heads of `.npy` files, whoever wrote them; and what comes of the elements after them."""

import io
import json
import pickle
import tracemalloc
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays_of

from snyper.arrays import slices
from snyper.arrays.encoding import encoded
from snyper.arrays.npy import MAX_HEAD_BYTES, Head, NotTaken, head_bytes, head_of, read_head
from snyper.arrays.preview import CELLS, COLUMNS, Preview, preview_of
from snyper.arrays.slices import NoSlice, Selection, file_order, pieces, select, whole
from tests.integration.arrays_harness import saved

TYPES = ["|b1", *(f"{order}{kind}" for order in "<>" for kind in ("i2", "i4", "i8", "u2", "u4", "u8"))]
TYPES += ["|i1", "|u1", *(f"{order}f{size}" for order in "<>" for size in (2, 4, 8))]


def headed(text: str, version: tuple[int, int] = (1, 0), length: int | None = None) -> bytes:
    """Return the begin of a file with this text for a head."""
    content = text.encode("utf-8")
    size = len(content) if length is None else length
    return b"\x93NUMPY" + bytes(version) + size.to_bytes(2 if version == (1, 0) else 4, "little") + content


def described(descr: str = "'<f8'", order: str = "False", shape: str = "(3,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}\n"


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
@pytest.mark.parametrize("dtype", TYPES)
def test_what_numpy_writes_is_read(dtype: str, version: tuple[int, int]) -> None:
    content = saved(numpy.zeros((2, 3), dtype), version)
    head = read_head(content)
    assert head is not None
    assert (head.type, head.shape, head.is_fortran) == (numpy.dtype(dtype), (2, 3), False)
    assert head.file_bytes == len(content)


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_a_head_that_is_cut_anywhere_is_not_there_yet(version: tuple[int, int]) -> None:
    content = saved(numpy.zeros(3), version)
    head = read_head(content)
    assert head is not None
    for end in range(head.offset):
        assert read_head(content[:end]) is None
    for end in range(head.offset, len(content)):
        assert read_head(content[:end]) == head


@pytest.mark.parametrize("shape", [(), (1,), (0,), (0, 3), (3, 0, 2), (2, 3, 4), (1,) * 32])
def test_shapes(shape: tuple[int, ...]) -> None:
    head = read_head(saved(numpy.zeros(shape)))
    assert head is not None
    assert head.shape == shape


@pytest.mark.parametrize(
    "text",
    [
        "{'shape':(3,),'fortran_order':True,'descr':'>i2'}",
        '{"descr": ">i2", "fortran_order": True, "shape": (3L,)}',
        "{ 'descr' : '>i2' ,\n'fortran_order':True, 'shape': ( 3 , ) , }   \n",
    ],
)
def test_what_others_write_is_read(text: str) -> None:
    assert read_head(headed(text)) == Head(">i2", (3,), True, 10 + len(text))


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", None),
        (b"\x93NUMPX", "no .npy file"),
        (b"hello", "no .npy file"),
        (b"\x80\x04\x95", "a pickle"),
        (pickle.dumps([1, 2]), "a pickle"),
        (b"PK\x03\x04....", "an .npz archive"),
        (b"PK\x05\x06....", "an .npz archive"),
        (headed(described(), (1, 1)), "version 1.1"),
        (headed(described(), (4, 0)), "version 4.0"),
        (headed(described(), (0, 0)), "version 0.0"),
        (headed(described(), (255, 255)), "version 255.255"),
        (headed("", (2, 0), 2**32 - 1), "4,294,967,295 bytes"),
        (headed("", (3, 0), MAX_HEAD_BYTES + 1), "above the limit of 65,536"),
        (headed(described(shape="(1000000, 1000000)")), None),
        (headed(described(shape="(1000000000000,)")), None),
        (headed(described(shape="(4294967296, 4294967296)")), "more elements than any computer holds"),
        (headed(described(shape="(2, 9223372036854775807)")), "more elements"),
        (headed(described(shape="(0, 9223372036854775807)")), "more elements"),
        (headed(described("'|b1'", shape="(9223372036854775808,)")), "more elements"),
        (headed(described(shape="(99999999999999999999999,)")), "not what numpy.save writes"),
        (headed(described(shape="(0, 1000000)")), "as if there were many"),
        (headed(described(shape="(-3,)")), "not what numpy.save writes"),
        (headed(described(shape="(3, -1)")), "not what numpy.save writes"),
        (headed(described(shape="(True,)")), "its shape is none"),
        (headed(described(shape="(3.5,)")), "not what"),
        (headed(described(shape="(1e3,)")), "not what"),
        (headed(described(shape="(3)")), "not what"),
        (headed(described(shape="(,)")), "its shape is none"),
        (headed(described(shape="(3,,)")), "its shape is none"),
        (headed(described(shape="((3,),)")), "its shape is none"),
        (headed(described(shape="[3]")), "structured"),
        (headed(described(shape="3")), "not what"),
        (headed(described(shape="'3'")), "no shape"),
        (headed(described(shape="None")), "not what"),
        (headed(described(shape="(" + "1, " * 33 + ")")), "33 dimensions"),
        (headed(described(shape="(" + "1, " * 20_000 + ")")), "its shape is none"),
        (headed(described(order="0")), "not what"),
        (headed(described(order="'False'")), "does not say its order"),
        (headed(described(order="None")), "not what"),
        (headed(described("'|O'")), "'|O'"),
        (headed(described("'<c16'")), "'<c16'"),
        (headed(described("'<M8[ns]'")), "'<M8[ns]'"),
        (headed(described("'<m8'")), "'<m8'"),
        (headed(described("'<f16'")), "'<f16'"),
        (headed(described("'|S5'")), "'|S5'"),
        (headed(described("'<U5'")), "'<U5'"),
        (headed(described("'|V8'")), "'|V8'"),
        (headed(described("'f8'")), "'f8'"),
        (headed(described("'|f8'")), "'|f8'"),
        (headed(described("'<f8, <i4'")), "'<f8, <i4'"),
        (headed(described("'<f8\\n'")), "not what"),
        (headed(described("''")), "''"),
        (headed(described("'" + "x" * 200 + "'")), "not what"),
        (headed(described("[('a', '<f8'), ('b', '<i4')]")), "structured arrays"),
        (headed(described("('<f8', (2,))")), "its shape is none"),
        (headed(described("True")), "no type"),
        (headed("{'descr': '<f8', 'fortran_order': False}"), "other keys"),
        (headed("{'descr': '<f8', 'fortran_order': False, 'shape': (3,), 'more': 'x'}"), "other keys"),
        (headed("{'descr': '<f8', 'descr': '<f8', 'fortran_order': False, 'shape': (3,)}"), "not what"),
        (headed("{}"), "other keys"),
        (headed("{,}"), "not what"),
        (headed(""), "not what"),
        (headed("   \n"), "not what"),
        (headed("(3,)"), "not what"),
        (headed(described() + "x"), "not what"),
        (headed(described() + "{}"), "not what"),
        (headed(described().replace("}", "")), "not what"),
        (headed("{'descr': __import__('os').system('true'), 'fortran_order': False, 'shape': ()}"), "not"),
        (headed("{" * 60_000), "not what"),
        (headed(described(shape="(" * 60_000)), "its shape is none"),
        (headed("[" * 60_000), "not what"),
        (headed("{'descr': '" + "x" * 65_000), "not what"),
        (headed("\0" * 1_000), "not what"),
        (headed(described().replace("'", "’")), "not what"),
    ],
    ids=range(74),
)
def test_what_is_no_array_costs_nothing(content: bytes, why: str | None) -> None:
    tracemalloc.start()
    try:
        if why is None:
            read_head(content)  # too large by its size alone, which who keeps it limits
        else:
            with pytest.raises(
                NotTaken, match=why.replace("(", r"\(").replace("[", r"\[").replace("|", r"\|")
            ):
                read_head(content)
        assert tracemalloc.get_traced_memory()[1] < 500_000
    finally:
        tracemalloc.stop()


def test_a_zip_of_arrays_is_no_array() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("a.npy", saved(numpy.zeros(3)))
    with pytest.raises(NotTaken, match="npz"):
        read_head(file.getvalue())


@given(st.binary(max_size=300) | st.text("{}()[]'\",: \n0123456789TrueFalsdcishpnot_<>|fL", max_size=200))
def test_any_head_is_taken_or_is_not(content: bytes | str) -> None:
    begin = headed(content) if isinstance(content, str) else content
    try:
        head = read_head(begin)
    except NotTaken:
        return
    assert head is None or head.file_bytes >= head.offset


@settings(max_examples=1_000)
@given(
    st.sampled_from([described(), described("'>i2'", "True", "(2, 3)"), described("'|b1'", shape="()")]),
    st.lists(
        st.tuples(
            st.integers(0, 60),
            st.integers(0, 3),
            st.sampled_from([*"{}()[]'\",: \n0123456789LTF_-+.e<>|=biufcOVSUM\t\r\0#é"]),
        ),
        max_size=4,
    ),
    st.sampled_from([(1, 0), (2, 0), (3, 0)]),
)
def test_what_is_taken_numpy_reads_too(
    text: str, edits: list[tuple[int, int, str]], version: tuple[int, int]
) -> None:
    """A head with some signs put in or in the place of others: either it is no array, or the same to both."""
    for at, removed, sign in edits:
        text = text[:at] + sign + text[at + removed :]
    begin = headed(text, version)
    try:
        head = read_head(begin)
    except NotTaken:
        return
    assert head is not None
    if head.data_bytes > 10_000:
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it says so where a head is one of Python 2's
        array = numpy.load(io.BytesIO(begin + bytes(head.data_bytes)), allow_pickle=False)
    assert (array.dtype, array.shape) == (head.type, head.shape)
    assert array.flags.f_contiguous == head.is_fortran or array.flags.c_contiguous == array.flags.f_contiguous


@pytest.mark.parametrize(
    "array", [numpy.zeros(3, complex), numpy.array(["a"]), numpy.zeros(3, "M8[s]"), numpy.array([None])]
)
def test_an_array_of_another_type_has_no_head(array: Any) -> None:
    with pytest.raises(NotTaken):
        head_of(array)


# --- there and back

ARRAYS = st.sampled_from(TYPES).flatmap(
    lambda dtype: arrays_of.arrays(dtype, arrays_of.array_shapes(min_dims=0, min_side=0, max_side=9))
)


@pytest.fixture
def few_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have small arrays read in pieces, as large ones are."""
    monkeypatch.setattr(slices, "PIECE_BYTES", 64)
    monkeypatch.setattr(slices, "_SPAN_BYTES", 24)
    monkeypatch.setattr(slices, "_GATHERED_BYTES", 100)


def same(found: Any, expected: Any) -> bool:
    """Tell whether two arrays are the same in every element, NaN too."""
    is_equal: bool = numpy.array_equal(found, expected, equal_nan=expected.dtype.kind == "f")
    return is_equal and found.shape == expected.shape and found.dtype == expected.dtype


def read(path: Path, head: Head, selection: Selection) -> Any:
    """Read a selection in the file's order, as `.npy` answers it."""
    plain, turned = file_order(head, selection)
    with path.open("rb", buffering=0) as file:
        found = list(pieces(file, plain, turned, 64))
    assert all(piece.nbytes <= 64 for piece in found)
    flat = numpy.concatenate(found, dtype=head.type) if found else numpy.empty(0, head.type)
    array = flat.reshape(turned.shape)
    return array.T if head.is_fortran else array


def as_json(path: Path, head: Head, selection: Selection) -> Any:
    """Read a selection as JSON answers it, and make an array of it as existing clients do."""
    with path.open("rb", buffering=0) as file:
        text = b"".join(encoded(pieces(file, head, selection, 64), selection.shape))
    value = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    return numpy.array(value, dtype=str(head.type)).reshape(selection.shape)


SLICES = st.lists(
    st.sampled_from([":", "0", "-1", "::2", "1:", ":-1", "1:7:3", "5:2", ":0", "100:"])
    | st.integers(-9, 9).map(str),
    min_size=1,
    max_size=4,
)


@pytest.mark.usefixtures("few_bytes")
def test_arrays_and_slices_of_them_come_back(tmp_path: Path) -> None:
    path = tmp_path / "array.npy"

    @settings(max_examples=300)
    @given(ARRAYS, st.booleans(), SLICES)
    def check(array: Any, is_fortran: bool, parts: list[str]) -> None:
        array = numpy.array(array, order="F" if is_fortran else "C")
        path.write_bytes(saved(array))
        head = read_head(path.read_bytes())
        assert head is not None
        assert head == Head(*(head_of(array).__dict__ | {"offset": head.offset}).values())
        assert same(read(path, head, whole(head.shape)), array)
        assert same(as_json(path, head, whole(head.shape)), array)
        text = ",".join(parts)
        try:
            expected = eval(f"array[{text}]")
        except IndexError:
            with pytest.raises(NoSlice):
                select(text, head.shape)
            return
        selection = select(text, head.shape)
        assert same(read(path, head, selection), numpy.asarray(expected, array.dtype))
        assert same(as_json(path, head, selection), numpy.asarray(expected, array.dtype))

    check()


@given(ARRAYS)
def test_a_head_of_ours_is_one_of_numpys(array: Any) -> None:
    content = head_bytes(head_of(array)) + array.tobytes("F" if head_of(array).is_fortran else "C")
    assert same(numpy.load(io.BytesIO(content), allow_pickle=False), array)
    assert len(head_bytes(head_of(array))) % 64 == 0


@pytest.mark.parametrize("dtype", ["<f2", "<f4", "<f8", ">f4"])
def test_nan_and_infinities_are_no_numbers_of_json(dtype: str) -> None:
    array = numpy.array([[1.5, numpy.nan], [numpy.inf, -numpy.inf]], dtype)
    text = b"".join(encoded([array.reshape(-1)], array.shape))
    assert text == b'[[1.5,null],["Infinity","-Infinity"]]'
    assert same(numpy.array(json.loads(text), dtype=dtype), array)


def test_a_file_that_became_shorter_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "array.npy"
    path.write_bytes(saved(numpy.zeros(100))[:-1])
    head = read_head(path.read_bytes())
    assert head is not None
    with pytest.raises(OSError, match="shorter than its head says"):
        read(path, head, whole(head.shape))


@pytest.mark.usefixtures("few_bytes")
def test_a_preview_has_every_spike(tmp_path: Path) -> None:
    path = tmp_path / "array.npy"

    @settings(max_examples=200)
    @given(
        ARRAYS | st.integers(1, 300).map(lambda count: numpy.arange(2.0 * count).reshape(count, 2)),
        st.booleans(),
    )
    def check(array: Any, is_fortran: bool) -> None:
        path.write_bytes(saved(numpy.array(array, order="F" if is_fortran else "C")))
        head = read_head(path.read_bytes())
        assert head is not None
        with path.open("rb", buffering=0) as file:
            found = preview_of(file, head)
        rows = array.reshape(1) if not array.shape else array
        count = 0 if 0 in array.shape else min(COLUMNS, len(rows))
        for column in range(count):
            some = rows[len(rows) * column // count : len(rows) * (column + 1) // count]
            numbers = some[numpy.isfinite(some)].tolist()
            assert found.low[column] == (min(numbers) if numbers else None)
            assert found.high[column] == (max(numbers) if numbers else None)
        assert len(found.low) == len(found.high) == count

    check()


@pytest.mark.usefixtures("few_bytes")
@pytest.mark.parametrize("is_fortran", [False, True])
@pytest.mark.parametrize("shape", [(2, 2), (3, 1_000), (1_000, 3), (70, 90), (2, 5_000)])
def test_the_image_of_a_matrix_has_every_spike(
    tmp_path: Path, shape: tuple[int, int], is_fortran: bool
) -> None:
    for spike in (1.0, -1.0):
        for place in ((0, 0), (shape[0] - 1, shape[1] // 2), (shape[0] // 2, shape[1] - 1)):
            array = numpy.zeros(shape, order="F" if is_fortran else "C")
            array[place] = spike
            preview = preview_of_array(tmp_path / "array.npy", array)
            assert preview.image is not None
            levels = numpy.array([list(bytes.fromhex(line)) for line in preview.image])
            assert levels.shape == tuple(min(length, CELLS) for length in shape)
            still, seen = (1, 255) if spike > 0 else (255, 1)
            [cell] = numpy.argwhere(levels == seen)
            for at, size, length, found in zip(place, levels.shape, shape, cell, strict=True):
                assert found * length // size <= at < (found + 1) * length // size
            assert (levels == still).sum() == levels.size - 1


def test_the_image_of_a_matrix_has_no_place_for_what_is_no_number(tmp_path: Path) -> None:
    array = numpy.array([[1e308, -1e308], [numpy.nan, numpy.inf]])
    assert preview_of_array(tmp_path / "array.npy", array).image == ["ff01", "0000"]
    assert preview_of_array(tmp_path / "array.npy", array[1:].repeat(2, 0)).image == ["0000", "0000"]
    assert preview_of_array(tmp_path / "array.npy", numpy.full((2, 2), True)).image == ["8080", "8080"]
    assert preview_of_array(tmp_path / "array.npy", numpy.zeros((1, 5))).image is None


def preview_of_array(path: Path, array: Any) -> Preview:
    path.write_bytes(saved(array))
    head = read_head(path.read_bytes())
    assert head is not None
    with path.open("rb", buffering=0) as file:
        return preview_of(file, head)
