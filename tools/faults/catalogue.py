"""The cases there are, in the order of their numbers."""

from tools.faults.case import Case
from tools.faults.cases import lines

CASES: tuple[Case, ...] = tuple(
    sorted(
        (*lines.CASES,),
        key=lambda case: case.number,
    )
)
