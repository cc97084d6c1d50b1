"""Commands that a hub, a journal or a board lies to, one after the other. As a program it says what became of
them, for a case of `make faults`: they have loops of their own, and want the main thread.

    python -m tools.faults.lied_to fields|lines|journals|boards COUNT SEED
"""

import faulthandler
import json
import logging
import random
import sys
import time
from collections.abc import Iterator
from typing import Any

from snyper.boards.temporary import temporary_directory
from tools.faults.broken_journal import read_broken
from tools.faults.hostile_board import asked_of_boards
from tools.faults.liar import ASKING, LyingHub, Outcome, carry_out, hurried, lies, mutated
from tools.loopback import HOST

SEED = 7
LIMIT_S = 10.0  # of a command that is lied to
_HANGS_S = 60.0  # after which one never ends


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
    kind, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    with hurried(), LyingHub().running() as hub, temporary_directory("snyper-broken-") as directory:
        tries: dict[str, Iterator[tuple[Any, ...]]] = {
            "fields": lied_to(hub, count or None, seed),
            "lines": distorted(hub, count, seed),
            "journals": read_broken(directory, count, seed),
            "boards": asked_of_boards(count, seed),
        }
        wrong, tried, worst_s, at_s = [], 0, 0.0, time.monotonic()
        for what, *_, defect in tries[kind]:
            faulthandler.dump_traceback_later(_HANGS_S, exit=True)
            before_s, at_s = at_s, time.monotonic()
            tried, worst_s = tried + 1, max(worst_s, at_s - before_s)
            if defect:
                wrong.append(f"{what}: {defect}")
        faulthandler.cancel_dump_traceback_later()
    print(json.dumps({"wrong": wrong, "count": tried, "worst_s": worst_s}))


if __name__ == "__main__":
    main()
