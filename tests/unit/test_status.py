"""What programs read out of all that a board prints."""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

from snyper.boards.status import last_status_in, parse_status, statuses_in, times_up
from snyper.firmware.board.status import Status
from snyper.shared.log import STATUS_PREFIX

ROOT = Path(__file__).resolve().parents[2]
LOG_CALLS = {"log", "keep"}
MIN_SENTENCE = len("registered as")  # shorter ones, such as `is here`, are said by anybody
MATCHING = {
    *("count", "endswith", "find", "findall", "index", "match", "partition", "removeprefix", "rpartition"),
    *("search", "split", "startswith"),
}


def line(status: str, **fields: object) -> str:
    return STATUS_PREFIX + json.dumps({"status": status, **fields}) + "\n"


LOG = (
    "0.010 boot: target 0.1.0, reset by power on\n"
    + line("starting", role="target")
    + line("joining")
    + "0.020 wifi: joining snyper: {}\n"
    + line("registered", target_id="target_1")
    + '0.120 session: the hub says snyper: {"status": "crashed"}\n'
    + line("registered", target_id="target_1").replace("\n", "\r\n")
    + line("seeking", last_error="timeout")
    + line("registered", target_id="target_1")
    + line("starting", role="target")
    + line("starting", role="target")
)


def test_a_status_line_is_known_by_its_prefix() -> None:
    assert parse_status('snyper: {"status": "listening", "port": 8081}') == {
        "status": "listening",
        "port": 8081,
    }
    for other in (
        "",
        "snyper: ",
        'snyper: {"status": "liste',
        "snyper: []",
        'snyper: {"status": 1}',
        "snyper: 7",
    ):
        assert parse_status(other) is None, other
    assert parse_status('0.120 session: snyper: {"status": "listening"}') is None


def test_each_change_is_listed_once_and_each_boot() -> None:
    words = [status["status"] for status in statuses_in(LOG)]
    assert words == ["starting", "joining", "registered", "seeking", "registered", "starting", "starting"]
    assert times_up(LOG) == 2


def test_the_last_status_is_the_last_line_that_is_complete() -> None:
    assert last_status_in("") == last_status_in("0.010 boot: snyper: {}\n") == {"status": ""}
    assert last_status_in(LOG + line("listening", port=1)) == {"status": "listening", "port": 1}
    assert last_status_in(LOG + line("listening", port=1)[:-1])["status"] == "starting"
    assert last_status_in(LOG + line("listening") + 'snyper: {"st\n' + "more\n") == {"status": "listening"}


def test_every_status_is_documented() -> None:
    words = {value for name, value in vars(Status).items() if name.isupper()}
    page = (ROOT / "docs" / "troubleshooting.md").read_text()
    table = page.partition("## The status line")[2].partition("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)) - {"status"} == words


def test_no_sentence_of_a_log_is_a_protocol() -> None:
    """What a firmware logs is for people: no program and no harness matches it."""
    logged = set()
    for source in [*(ROOT / "firmware").rglob("*.py"), *(ROOT / "shared").rglob("*.py")]:
        for node in ast.walk(ast.parse(source.read_text())):
            is_logged = isinstance(node, ast.Call) and ast.unparse(node.func) in LOG_CALLS
            is_reason = source.name == "session.py" and isinstance(node, ast.BinOp)
            if is_logged or is_reason:
                logged |= set(sentences_in(node))
    assert {"registered as", "listening on port", "the hub is lost:"} <= logged
    harness = ROOT / "tests" / "integration" / "harness.py"
    for source in [*(ROOT / "host").rglob("*.py"), *(ROOT / "tools").rglob("*.py"), harness]:
        texts = set(matched_in(ast.parse(source.read_text())))
        assert [(log, text) for text in texts for log in logged if log in text] == [], source


def sentences_in(node: ast.AST) -> Iterator[str]:
    """What a log call or a format says, without what it fills in."""
    for text in texts_in(node):
        yield from (
            part.strip()
            for part in re.split(r"%[.\d]*\w", text)
            if len(part.strip()) >= MIN_SENTENCE and " " in part.strip()
        )


def matched_in(module: ast.Module) -> Iterator[str]:
    """Every text that a module looks for in another, and every one that it has as a constant."""
    for node in ast.walk(module):
        match node:
            case ast.Compare(left, [ast.In() | ast.NotIn()]):
                yield from texts_in(left)
            case ast.Call(ast.Attribute(_, name), arguments) if name in MATCHING:
                for argument in arguments:
                    yield from texts_in(argument)
    for node in module.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, (ast.Constant, ast.Dict, ast.Tuple)):
            yield from texts_in(node.value)


def texts_in(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value
