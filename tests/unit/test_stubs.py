"""The .pyi of what a server serves: what a type checker makes of it, and that nothing hostile gets in."""

import ast
import datetime
import pathlib
import textwrap
import typing
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Optional

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings, strategies as st

from snyper.services.stubs import stubs
from snyper.services.surface import Surface
from tests.unit.type_checkers import Complaints, each_checker


class Powermeter:
    @property
    def identity(self) -> str:
        """Name the device."""
        return "QO100"

    @property
    def range(self) -> int:
        return 3

    @range.setter
    def range(self, value: int | None) -> None: ...

    def _set_target(self, value: float) -> None: ...

    target = property(None, _set_target)

    def read_voltage(self, samples: int = 20, *, unit: str = "V") -> float:
        r"""Measure the "voltage" of a \n photodiode.

        In volts, or µV.
        """
        return 1.0

    def stream(self, count: int) -> Iterator[float]:
        yield 1.0

    async def follow(self) -> AsyncIterator[int]:
        yield 1

    async def wait(self, *args: int, **kwargs: float) -> bool:
        return True

    def trace(self, gain: npt.NDArray[np.float64], plain: np.ndarray) -> npt.NDArray[np.int16]:
        return np.zeros(3, np.int16)


class Shadowing:
    """Has methods that are called as the types are that its others have."""

    def int(self, value: int, /) -> int:
        return value

    def list(self) -> "list[int]":  # type: ignore[valid-type]
        return []

    @property
    def property(self) -> "str":
        return ""

    def Any(self, value: Any) -> "typing.Any": ...

    def numpy(self) -> "np.float64": ...  # type: ignore[empty-body]

    def datetime(self) -> "datetime.datetime": ...  # type: ignore[empty-body]

    def Iterator(self) -> "typing.Iterator[str]":
        yield ""


def odd(  # type: ignore[no-untyped-def]
    old: Optional[int],  # noqa: UP045
    none_of_old: int = None,  # type: ignore[assignment] # noqa: RUF013
    wrong: int = "text",  # type: ignore[assignment]
    nested: "list[Annotated[int, 'V'] | None]" = [],  # noqa: B006
    mode: Literal["a", 3] = "a",
    unions: int | str | pathlib.Path = 1,
    unresolved: "Unknown" = None,  # type: ignore[name-defined] # noqa: F821
    call_back: Callable[[int], str] | None = None,
    several: typing.Dict[str, typing.List[int]] = {},  # noqa: B006, UP006
    bare: list = [],  # type: ignore[type-arg] # noqa: B006
    endless: tuple[int, ...] = (),
    empty: tuple[()] = (),
    sequence: Sequence[datetime.date] = (),
    infinite: float = float("inf"),
    enough: bool = True,
    untyped=1,
) -> pathlib.Path:
    return pathlib.Path()


def of_text(self: "int | 'str'", first: "list['int']") -> "dict[str, np.float64]":
    return {}


USE = """
import datetime
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any, Literal, assert_type

import numpy as np
import snyper
from lab import AsyncLab, Lab

def use(pm: Lab) -> None:
    assert_type(pm.identity, str)
    pm.identity = "x"  # type: ignore[misc]
    assert_type(pm.range, int)
    pm.range = None
    pm.range = "x"  # type: ignore[assignment]
    pm.target = 4.5
    pm.target = "x"  # type: ignore[assignment]
    assert_type(pm.get_range(), int)
    pm.set_range(3)
    assert_type(pm.read_voltage(samples=3, unit="mV"), float)
    pm.read_voltage(smaples=3)  # type: ignore[call-arg]
    assert_type(pm.stream(3), Iterator[float])
    assert_type(pm.follow(), Iterator[int])
    assert_type(pm.wait(1, 2, x=3.0), bool)
    assert_type(pm.trace(np.zeros(3), np.zeros(3)).dtype, np.dtype[np.int16])
    assert_type(pm.shadow_int(3), int)
    assert_type(pm.shadow_list(), list[int])
    assert_type(pm.shadow_numpy(), np.float64)
    assert_type(pm.shadow_Iterator(), Iterator[str])
    assert_type(pm.maximum(1, 2, key=3), Any)
    assert_type(pm.call("read_voltage"), Any)
    with pm as the_same:
        assert_type(the_same, Lab)
    with pm:
        assert_type(snyper.close(pm), None)
    pm.rnage  # type: ignore[attr-defined]
    pm.odd(None, None, 3, [None], 3, "x", 1, 2, {"a": [1]}, [], (1, 2), ())
    pm.odd(1, mode="b")  # type: ignore[arg-type]
    assert_type(pm.odd(1), Any)
    assert_type(pm.of_text(first=[1], self="x"), dict[str, np.float64])

async def use_async(pm: AsyncLab) -> None:
    assert_type(await pm.identity, str)
    assert_type(await pm.read_voltage(), float)
    await pm.set_range(3)
    pm.range = 3  # type: ignore[assignment, misc]
    assert_type(await pm.stream(3), AsyncIterator[float])
    assert_type(await pm.follow(), AsyncIterator[int])
    async with pm as the_same:
        assert_type(the_same, AsyncLab)
    await snyper.close(pm)
    async with snyper.lock(pm):
        await snyper.leases(pm)
    with snyper.lock(pm):  # type: ignore[attr-defined]
        pass
"""


@each_checker
def test_a_type_checker_takes_it_and_knows_the_types(complaints_of: Complaints, tmp_path: Path) -> None:
    surface = Surface()
    for item, name in (
        (Powermeter(), ""),
        (Shadowing(), "shadow_"),
        (max, "maximum"),
        (odd, ""),
        (of_text, ""),
    ):
        surface.add(item, name)
    bare = Surface()
    bare.add(Shadowing())
    (tmp_path / "lab.pyi").write_text(stubs(surface.describe()), encoding="utf-8")
    (tmp_path / "shadow.pyi").write_text(stubs(bare.describe()), encoding="utf-8")
    (tmp_path / "empty.pyi").write_text(stubs([]), encoding="utf-8")
    (tmp_path / "hostile.pyi").write_text(stubs(HOSTILE), encoding="utf-8")
    (tmp_path / "use.py").write_text(USE + "import empty, hostile, shadow\n", encoding="utf-8")
    assert complaints_of(tmp_path) == []


def arguments_of(signature: str) -> str:
    return next(line for line in stubs([entry(signature=signature)]).splitlines() if " f(" in line)


@pytest.mark.parametrize(
    ("signature", "line"),
    [
        ("(a: float = -1, b: complex = 1.5)", "(self, a: float = -1, b: complex = 1.5)"),
        ("(a: int = 1.5, b: str = b'')", "(self, a: int = ..., b: str = ...)"),
        ("(a: int = None, b: str | None = 'x')", "(self, a: int | None = None, b: str | None = 'x')"),
        ("(a=1, b=None, c=())", "(self, a: Any = 1, b: Any = None, c: Any = ...)"),
        ("(a: Range = 3, b: int = {[]: 1})", "(self, a: Any = 3, b: int = ...)"),
        ("(a: int | None = 'x')", "(self, a: int | None = ...)"),
    ],
)
def test_a_default_is_shown_where_it_fits(signature: str, line: str) -> None:
    assert arguments_of(signature) == f"    def f{line} -> Any: ..."


def entry(**fields: object) -> dict[str, object]:
    return {"name": "f", "kind": "function", "signature": "()", "doc": "", "property": ""} | fields


HOSTILE: list[dict[str, object]] = [
    entry(name="first", signature="(): ...\nimport os\ndef g()"),
    entry(name="second", signature="(a: __import__('os').system('id') = __import__('os'), a: int = 3)"),
    entry(name="third", signature="(a: '): ...\\nimport os\\ndef g(' = 3) -> list[int, int]"),
    entry(name="fourth", signature="(a: int[3], b: dict[str], c: numpy.ndarray[int, str], d: numpy.os)"),
    entry(name="fifth", signature="(self, self_, *, x: " + "list[" * 300 + "]" * 300 + ")"),
    entry(name="sixth", signature="(a: " + "int|" * 900 + "int)"),
    entry(name="seventh", doc='"""\nimport os\n"""\\'),
    entry(name="eighth", doc="\ud800\0\x0c\u2028\r\n  x\n\n y"),
    entry(name="class", signature="()"),
    entry(name="__init__", signature="()"),
    entry(name="call", signature="()"),
    entry(name="first", signature="(again)"),
    entry(name="two words"),
    entry(name="ninth", kind="getter", property="first"),
    entry(name="tenth", kind="setter", property="Prop", signature="()"),
    entry(name="eleventh", kind="getter", property="prop", signature="(x) -> typing.Literal[3.5]"),
    entry(name="twelfth", signature="(*, a=1, **b) -> typing.Optional"),
    entry(name="thirteenth", signature="(__a, b, __c, /, d: lambda: 3 = 1, *args: *int)", generator=True),
    entry(name="\u217eode"),  # as an identifier it is read as `mode`'s neighbour, `dode`
    entry(name="dode"),
    entry(name="fourteenth", signature="(a={[]: 1}, b=lambda: 3, c=f'{a}', d={1, 2}, e=-True, f=1 + 2j)"),
    entry(name=3, kind=[], signature={}),
]


def test_what_is_hostile_is_left_out_or_any() -> None:
    tree = ast.parse(stubs(HOSTILE))
    assert {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)} == {
        *("typing", "collections.abc")
    }
    lab = next(node for node in tree.body if isinstance(node, ast.ClassDef))
    names = [node.name for node in lab.body if isinstance(node, ast.FunctionDef)]
    assert names == [
        *("__enter__", "__exit__", "call", "help", "close", "Prop", "Prop"),
        *("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"),
        *("eleventh", "twelfth", "thirteenth", "dode", "fourteenth"),
    ]


def test_documentation_stays_what_it_was() -> None:
    surface = Surface()
    surface.add(Powermeter())
    lab = next(node for node in ast.parse(stubs(surface.describe())).body if isinstance(node, ast.ClassDef))
    docs = {node.name: ast.get_docstring(node) for node in lab.body if isinstance(node, ast.FunctionDef)}
    assert docs["read_voltage"] == surface.find("read_voltage").doc
    assert docs["get_identity"] == "Name the device."


# The last two are read as `if` and `None`.
NAMES = st.one_of(st.sampled_from(["f", "int", "Any", "property", "call", "𝐢𝐟", "𝐍one"]), st.text(max_size=5))
SIGNATURES = st.one_of(
    st.none(),
    st.text(max_size=30),
    st.text("()[]:=*/,|'\"\\\n intlsd", max_size=30).map(lambda text: f"({text})"),
    st.text("[]|,. intlsdNoe'", max_size=30).map(lambda text: f"(a: {text} = 3) -> {text}"),
)
DESCRIBED = st.lists(
    st.fixed_dictionaries(
        {
            "name": NAMES,
            "kind": st.sampled_from(["method", "getter", "setter", "function", "x"]),
            "signature": SIGNATURES,
            "doc": st.text(),
            "property": NAMES,
            "async": st.booleans(),
            "generator": st.booleans(),
        }
    ),
    max_size=5,
)


@settings(deadline=None)
@given(DESCRIBED)
def test_whatever_comes_the_text_parses(described: list[dict[str, object]]) -> None:
    text = stubs(described)
    tree = ast.parse(text)
    assert {type(node) for node in tree.body} <= {ast.Expr, ast.Import, ast.ImportFrom, ast.ClassDef}
    assert [node.name for node in tree.body if isinstance(node, ast.ClassDef)] == ["Lab", "AsyncLab"]
    text.encode()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["name", "kind", "x"]), inner)
    ),
    max_leaves=10,
)


@given(JSON)
def test_whatever_json_comes_the_text_parses(described: Any) -> None:
    ast.parse(textwrap.dedent(stubs(described)))
