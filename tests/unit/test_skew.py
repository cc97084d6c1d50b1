"""Where a class differs from what is served: names, arguments, defaults; and what of it matters."""

from typing import Any

from hypothesis import given, strategies as st

from snyper.services.skew import differences
from snyper.services.surface import Surface


class Powermeter:
    @property
    def identity(self) -> str:
        return "QO100"

    @property
    def range(self) -> int:
        return 3

    @range.setter
    def range(self, value: int) -> None: ...

    def read_voltage(self, samples: int = 20) -> float:
        return 1.0

    def zero(self, quick: bool = False) -> None: ...

    def trace(self) -> list[int]:
        return []

    natural = abs


class Older:
    @property
    def range(self) -> float:
        return 3

    def read_voltage(self, samples: "float" = 20) -> Any:
        return 1.0

    def zero(self, quick: bool = True, /) -> None: ...

    def trace(self, count: int) -> list[int]:
        return []

    def natural(self, x: int) -> int:
        return x


def described(item: object, prefix: str = "") -> list[dict[str, object]]:
    surface = Surface()
    surface.add(item, prefix)
    return surface.describe()


def test_the_same_class_does_not_differ() -> None:
    assert differences([Powermeter], described(Powermeter())) == {}
    assert differences([(Powermeter, "Pump_")], described(Powermeter(), "pump_")) == {}


def test_what_differs_is_named_but_not_annotations_nor_what_nobody_knows() -> None:
    assert differences([(Powermeter, "a_")], described(Older(), "a_")) == {
        "a_zero": "a_zero(quick=False) is (quick=True, /) there",
        "a_trace": "a_trace() is (count) there",
        "get_a_identity": "get_a_identity is not served",
        "set_a_range": "set_a_range is not served",
        "a_natural": "a_natural(x, /) is (x) there",
    }


def test_what_the_server_has_more_is_no_difference() -> None:
    class Part:
        def trace(self) -> list[int]:
            return []

    assert differences([Part], described(Powermeter())) == {}


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["name", "signature"]),
            st.sampled_from(["trace", "(", "(a, a)", "()", "\n"]) | st.integers() | st.lists(st.none()),
        )
    )
)
def test_whatever_comes_only_the_classs_names_are_named(hostile: list[dict[str, object]]) -> None:
    assert set(differences([Powermeter], hostile)) <= {one["name"] for one in described(Powermeter())}
