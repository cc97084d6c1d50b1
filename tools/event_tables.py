"""Write the tables of events in docs/protocol.md from `snyper.client.events`.

python -m tools.event_tables
"""

from collections.abc import Iterable
from pathlib import Path

from snyper.client.events import KINDS, EventKind

PAGE = Path(__file__).resolve().parents[1] / "docs" / "protocol.md"
_END = "<!-- end of the table -->"
_HEAD = "| `data.event` | when | more in `data` |\n| --- | --- | --- |\n"


def table(kinds: Iterable[EventKind]) -> str:
    """Return a Markdown table with a row for each kind."""
    return _HEAD + "".join(f"| `{kind.name}` | {kind.when} | {_fields(kind)} |\n" for kind in kinds)


def _fields(kind: EventKind) -> str:
    """List the fields that need no words, then the others. The text says what all games have."""
    fields = {name: field for name, field in kind.fields.items() if name != "game_id"}
    plain = ", ".join(f"`{name}`" for name, field in fields.items() if not field.meaning)
    told = [f"`{name}`: {field.meaning}" for name, field in fields.items() if field.meaning]
    return "; ".join([plain] * bool(plain) + told)


def written(page: str) -> str:
    """Return `page` with its tables up to date. Raises ValueError where it has no place for one."""
    for name, is_of_a_game in (("the range", False), ("games", True)):
        begin = f"<!-- events of {name}: make docs -->"
        kinds = [kind for kind in KINDS.values() if kind.is_of_a_game == is_of_a_game]
        head, _, rest = page.partition(begin)
        _, end, tail = rest.partition(_END)
        if not end:
            raise ValueError(f"no {begin} with an end after it")
        page = f"{head}{begin}\n{table(kinds)}{end}{tail}"
    return page


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
