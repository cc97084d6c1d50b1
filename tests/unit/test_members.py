"""Signatures without their functions: arguments that one takes the other takes, in the same words refused."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from snyper.services.members import checker, signature_of

KINDS = (
    inspect.Parameter.POSITIONAL_ONLY,
    inspect.Parameter.POSITIONAL_OR_KEYWORD,
    inspect.Parameter.VAR_POSITIONAL,
    inspect.Parameter.KEYWORD_ONLY,
    inspect.Parameter.VAR_KEYWORD,
)


def plain(a, b=1, /, c=2, *args, d, e=3, **kwargs): ...  # type: ignore[no-untyped-def]
def only(a, b, /): ...  # type: ignore[no-untyped-def]
def keywords(*, a, b=None): ...  # type: ignore[no-untyped-def]
def anything(*args, **kwargs): ...  # type: ignore[no-untyped-def]
def nothing(): ...  # type: ignore[no-untyped-def]
def usual(self, samples=20, unit="V"): ...  # type: ignore[no-untyped-def]
def options(a, *args, b): ...  # type: ignore[no-untyped-def]
def defaults(a=1, *, b=2, **c): ...  # type: ignore[no-untyped-def]


def outcome(function: Callable[..., object], args: tuple[int, ...], kwargs: dict[str, int]) -> str:
    try:
        function(*args, **kwargs)
    except TypeError as error:
        return str(error)
    return "taken"


@settings(max_examples=400)
@given(
    st.sampled_from([plain, only, keywords, anything, nothing, usual, options, defaults]),
    st.lists(st.just(1), max_size=5).map(tuple),
    st.dictionaries(
        st.sampled_from(["a", "b", "c", "d", "e", "args", "samples", "unit", "smaples"]), st.just(1)
    ),
)
def test_a_checker_says_what_the_function_says(
    function: Callable[..., object], args: tuple[int, ...], kwargs: dict[str, int]
) -> None:
    signature = signature_of(function)
    assert signature is not None
    assert outcome(checker(signature, function.__qualname__), args, kwargs) == outcome(function, args, kwargs)


PARAMETERS = st.lists(
    st.tuples(st.sampled_from("abcdefg"), st.sampled_from(KINDS), st.booleans()), unique_by=lambda one: one[0]
)


@given(PARAMETERS, st.lists(st.just(1), max_size=4), st.dictionaries(st.sampled_from("abcdefg"), st.just(1)))
def test_a_checker_of_any_signature_says_what_python_says(
    parameters: list[tuple[str, Any, bool]], args: list[int], kwargs: dict[str, int]
) -> None:
    last = {kind: name for name, kind, _ in parameters}
    ordered = sorted(
        (one for one in parameters if one[1] not in (KINDS[2], KINDS[4]) or last[one[1]] == one[0]),
        key=lambda one: (KINDS.index(one[1]), one[2]),
    )
    made, has_default = [], False
    for name, kind, is_optional in ordered:
        is_positional = kind in KINDS[:2]
        has_default = has_default or (is_positional and is_optional)
        has_own = has_default if is_positional else is_optional and kind is KINDS[3]
        made.append(inspect.Parameter(name, kind, default=0 if has_own else inspect.Parameter.empty))
    signature = inspect.Signature(made)
    scope: dict[str, Callable[..., object]] = {}
    exec(f"def f{signature}: ...", scope)
    assert outcome(checker(signature, "f"), tuple(args), kwargs) == outcome(scope["f"], tuple(args), kwargs)


def test_a_decorator_that_passes_on_what_it_gets_has_the_signature_within() -> None:
    def passing(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    def passing_method(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
            return function(self, *args, **kwargs)

        return wrapper

    def adding(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, retries: int = 3, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    def arguments(function: Callable[..., Any]) -> list[str]:
        signature = signature_of(function)
        assert signature is not None
        return list(signature.parameters)

    assert arguments(passing(passing(usual))) == ["self", "samples", "unit"]
    assert arguments(passing_method(usual)) == ["self", "samples", "unit"]
    assert arguments(adding(usual)) == ["args", "retries", "kwargs"]
    assert arguments(passing(adding(usual))) == ["args", "retries", "kwargs"]
    assert arguments(functools.lru_cache(usual)) == ["self", "samples", "unit"]


@pytest.mark.parametrize("function", [max, type, object()])
def test_what_has_no_signature_has_none(function: Any) -> None:
    assert signature_of(function) is None


def test_what_wraps_itself_has_none() -> None:
    def function(*args: Any) -> None: ...

    function.__wrapped__ = function  # type: ignore[attr-defined]
    assert signature_of(function) is None


def test_an_annotation_that_cannot_be_evaluated_stays_text() -> None:
    def function(a: "int", b: "Unknown") -> None: ...  # type: ignore[name-defined] # noqa: F821

    def known(a: "int") -> None: ...

    assert str(signature_of(function, resolved=True)) == "(a: 'int', b: 'Unknown') -> None"
    assert str(signature_of(known, resolved=True)) == "(a: int) -> None"
    assert str(signature_of(known)) == "(a: 'int') -> None"
