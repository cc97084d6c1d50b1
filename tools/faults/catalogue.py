"""The cases there are, in the order of their numbers."""

from tools.faults.case import Case
from tools.faults.cases import (
    dashboards,
    disks,
    endurance,
    fuzzing,
    hostile,
    identity,
    lines,
    motions,
    recordings,
    silence,
    strangers,
)

_MODULES = (
    dashboards,
    disks,
    endurance,
    fuzzing,
    hostile,
    identity,
    lines,
    motions,
    recordings,
    silence,
    strangers,
)
CASES: tuple[Case, ...] = tuple(
    sorted((case for module in _MODULES for case in module.CASES), key=lambda case: case.number)
)
