"""Commands that a hub, a journal or a board lies to, one after the other. As a program it says what became of
them, for a case of `make faults`: they have loops of their own, and want the main thread.

    python -m tools.faults.lied_to FIELDS MUTATIONS JOURNALS BOARDS
"""

import json
import logging
import random
import sys
import time
from collections.abc import Iterator

from snyper.boards.temporary import temporary_directory
from tools.faults.broken_journal import read_broken
from tools.faults.hostile_board import asked_of_boards
from tools.faults.liar import ASKING, LyingHub, Outcome, carry_out, hurried, lies, mutated
from tools.loopback import HOST

SEED = 7
LIMIT_S = 10.0  # of a command that is lied to


def lied_to(hub: LyingHub, count: int | None, seed: int = SEED) -> Iterator[tuple[str, Outcome, str]]:
    """Carry out commands with one field of one answer wrong: `count` of all there are, None for all. Yields
    what was wrong, the outcome, and what is wrong with that.
    """
    rng = random.Random(seed)
    tries = [
        (arguments, word, what, answers)
        for arguments, words in ASKING
        for word in words
        for what, answers in lies(hub.answers[word])
    ]
    rng.shuffle(tries)
    for arguments, word, what, answers in tries[:count]:
        honest = hub.answers[word]
        hub.answers[word] = answers
        try:
            yield _tried(hub, arguments, what, rng.random() < 0.3)
        finally:
            hub.answers[word] = honest


def distorted(hub: LyingHub, count: int, seed: int = SEED) -> Iterator[tuple[str, Outcome, str]]:
    """Carry out `count` commands with the bytes of a line changed, as `lied_to` yields it."""
    for number in range(count):
        rng = random.Random(f"{seed}-{number}")
        arguments, _ = rng.choice(ASKING)
        hub.distort = lambda line, rng=rng: mutated(line, rng) if rng.random() < 0.3 else line  # type: ignore[misc]
        try:
            yield _tried(hub, arguments, f"mutation {seed}-{number}", rng.random() < 0.3)
        finally:
            hub.distort = lambda line: line


def _tried(
    hub: LyingHub, arguments: tuple[str, ...], what: str, is_terminal: bool
) -> tuple[str, Outcome, str]:
    outcome = carry_out([*arguments, "--hub", f"{HOST}:{hub.port}"], is_terminal)
    return f"{' '.join(arguments)}, {what}", outcome, outcome.wrong(is_terminal, arguments[0] == "logs")


def main() -> None:
    logging.getLogger("snyper").setLevel(logging.CRITICAL)  # what it says of broken journals
    fields, mutations, journals, boards = (int(text) for text in sys.argv[1:5])
    with hurried(), LyingHub().running() as hub, temporary_directory("snyper-broken-") as directory:
        for name, tries in (
            ("a field of a wrong kind", lied_to(hub, fields or None)),
            ("a line with changed bytes", distorted(hub, mutations)),
            ("a broken journal", read_broken(directory, journals, SEED)),
            ("a board that lies", asked_of_boards(boards, SEED)),
        ):
            wrong, count, worst_s, at_s = [], 0, 0.0, time.monotonic()
            for what, *_, defect in tries:
                before_s, at_s = at_s, time.monotonic()
                count, worst_s = count + 1, max(worst_s, at_s - before_s)
                if defect:
                    wrong.append(f"{what}: {defect}")
            print(json.dumps({"name": name, "wrong": wrong, "count": count, "worst_s": worst_s}), flush=True)


if __name__ == "__main__":
    main()
