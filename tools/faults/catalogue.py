"""The cases there are, in the order of their numbers."""

from tools.faults.case import Case
from tools.faults.cases import fuzzing, hostile, lines, motions, silence, strangers

CASES: tuple[Case, ...] = tuple(
    sorted(
        (*fuzzing.CASES, *hostile.CASES, *lines.CASES, *motions.CASES, *silence.CASES, *strangers.CASES),
        key=lambda case: case.number,
    )
)
