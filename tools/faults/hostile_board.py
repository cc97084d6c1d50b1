"""A board on a USB port that is none of ours: it has the raw REPL, and says there what it likes."""

import json
import os
import pty
import random
import re
import select
import threading
import tty
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tools.faults.liar import WRONG, Outcome, carry_out, mutated

BANNER = b"raw REPL; CTRL-B to exit\r\n>"
IDENTITY = {
    "platform": "rp2",
    "version": [1, 26, 0],
    "name": "Raspberry Pi Pico W",
    "has_wifi": True,
    "unique_id": "e66",
}

ENDLESS = b"without end "
UNENDED = b"wait for more"

Says = Callable[[str], bytes]


class HostileBoard:
    """Takes each program that is sent to the prompt, and prints what `says` makes of it: that without end
    where it is ENDLESS, and never an end where it is UNENDED.
    """

    def __init__(self, says: Says) -> None:
        self._says = says
        self._own, terminal = pty.openpty()
        tty.setraw(terminal)
        self._terminal = terminal
        self.port = os.ttyname(terminal)
        self._stop, self._stopped = os.pipe()
        self._thread = threading.Thread(target=self._serve)
        self.printed_bytes = 0
        self.is_asked = threading.Event()  # for what it says UNENDED to

    @contextmanager
    def running(self) -> Iterator["HostileBoard"]:
        self._thread.start()
        try:
            yield self
        finally:
            os.close(self._stopped)
            self._thread.join()
            for held in (self._own, self._terminal, self._stop):
                os.close(held)

    def _take(self) -> bytes:
        """Return the next byte; nothing once it is to stop."""
        readable, _, _ = select.select([self._own, self._stop], [], [])
        return b"" if self._stop in readable else os.read(self._own, 1)

    def _print(self, text: bytes) -> bool:
        """False once it is to stop."""
        while text:
            stopped, _, _ = select.select([self._stop], [self._own], [])
            if stopped:
                return False
            written = os.write(self._own, text[:512])
            self.printed_bytes += written
            text = text[written:]
        return True

    def _serve(self) -> None:
        program = b""
        while byte := self._take():
            if byte == b"\x01":
                program = b""
                self._print(BANNER)
            elif byte == b"\x05":  # asks for raw paste
                self._take()
                self._take()
                self._print(b"R\x00")
            elif byte == b"\x04":
                is_word = re.fullmatch(r"print\(end='([0-9a-f]+)'\)", program.decode())
                said = is_word[1].encode() if is_word else self._says(program.decode())
                program = b""
                self._print(b"OK")
                while said.startswith(ENDLESS) and self._print(said):
                    pass
                self._print(said if said == UNENDED else said + b"\x04\x04>")
                if said == UNENDED:
                    self.is_asked.set()
            elif byte not in b"\r\x03":
                program += byte


def saying(answers: dict[str, object]) -> Says:
    """Answer programs that hold such a text, and nothing to any other."""

    def says(program: str) -> bytes:
        for part, answer in answers.items():
            if part in program:
                return answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return b""

    return says


# --- the commands that ask a board

HONEST: dict[str, object] = {
    "unique_id": IDENTITY,
    "sha256": [None, "00" * 32],
    "listdir": ["main.py", "config.json", "snyper.update.json"],
    "os.stat": b"",
    "r(": b"b'{}'",
    "f.read": b"b'{}'",
}
ASKING = (("boards",), ("boards", "--json"), ("config",), ("logs",))


def asked_of_boards(count: int, seed: int) -> Iterator[tuple[str, Outcome, str]]:
    """Carry out `count` commands, each with a board that says one thing wrong: a field of what it is, a whole
    answer, or some bytes of one. Yields what was wrong, the outcome, and what is wrong with that.
    """
    for number in range(count):
        rng = random.Random(f"{seed}-{number}")
        answers = dict(HONEST)
        about = rng.choice(sorted(HONEST))
        said = answers[about]
        honest = said if isinstance(said, bytes) else json.dumps(said).encode()
        kind = rng.randrange(3)
        if kind == 0 and about == "unique_id":
            answers[about] = {**IDENTITY, rng.choice(sorted(IDENTITY)): rng.choice(WRONG)}
        elif kind == 1:
            answers[about] = rng.choice(WRONG)
        else:
            answers[about] = mutated(honest, rng)
        arguments = rng.choice(ASKING)
        with HostileBoard(saying(answers)).running() as board:
            outcome = carry_out([*arguments, "--port", board.port])
        what = f"{' '.join(arguments)}, board {seed}-{number}: {about} is {answers[about]!r}"
        yield what[:200], outcome, outcome.wrong(False)
