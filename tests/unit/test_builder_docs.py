"""The pages for builders say what is so: their commands exist, their tables and their quotations are the
code's, their samples of fleet.toml are valid.
"""

import re
import shlex
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from typer.core import TyperGroup
from typer.exceptions import TyperException
from typer.main import get_command

from snyper.boards import board_files, fleet
from snyper.cli import main as cli
from snyper.firmware.board.led import PATTERNS, Pattern
from snyper.firmware.master import config as master_config

ROOT = Path(__file__).parents[2]
NAMES = ("build-a-target.md", "hub-board.md", "troubleshooting.md")
PAGES = {name: (ROOT / "docs" / name).read_text(encoding="utf-8") for name in NAMES}
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")
SNYPER = re.compile(r"^(?:\.venv[/\\](?:bin|Scripts)[/\\])?snyper ")


def code_of(page: str) -> list[str]:
    """Every piece of code on a page that is not TOML: lines of blocks, and words between backticks."""
    lines = []
    kind = None
    text = []
    for line in page.splitlines():
        if line.startswith("```"):
            kind = line[3:] or "plain" if kind is None else None
        elif kind is not None:
            lines.append(line if kind == "plain" else "")
        elif line.startswith("    "):
            lines.append(line.strip())
        else:
            text.append(line)
    return lines + re.findall(r"`([^`]+)`", "\n".join(text))


def commands_of(page: str, start: re.Pattern[str]) -> list[str]:
    """What follows `start` in every command of a page, without remarks."""
    found = []
    for code in code_of(page):
        code = " ".join(code.split())
        if start.match(code):
            found.append(start.sub("", code).partition(" # ")[0])
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_snyper_command_is_accepted(name: str) -> None:
    group = get_command(cli.app_with())
    assert isinstance(group, TyperGroup)
    commands = commands_of(PAGES[name], SNYPER)
    assert len(commands) > 5
    for text in commands:
        word, *arguments = shlex.split(text)
        command = group.commands.get(word)
        assert command is not None, f"there is no `snyper {word}`"
        if arguments or not any(parameter.required for parameter in command.params):
            try:
                command.make_context(word, arguments)
            except TyperException as error:
                pytest.fail(f"`snyper {text}`: {error}")


def test_a_wrong_command_is_not_accepted() -> None:
    group = get_command(cli.app_with())
    assert isinstance(group, TyperGroup)
    with pytest.raises(TyperException, match="--quickly"):
        group.commands["stand-up"].make_context("stand-up", ["target_1", "--quickly"])


@pytest.mark.parametrize("name", NAMES)
def test_every_make_command_is_there(name: str) -> None:
    commands = commands_of(PAGES[name], re.compile(r"^make "))
    assert commands
    for text in commands:
        target, *settings = text.split()
        assert re.search(rf"^{re.escape(target)}:", MAKEFILE, re.MULTILINE), f"there is no `make {target}`"
        for setting in settings:
            variable = setting.partition("=")[0]
            assert f"$({variable})" in MAKEFILE, f"make {text}: nobody uses {variable}"


def tables_of(page: str) -> list[list[list[str]]]:
    blocks = re.findall(r"(?:^\|.*\n)+", page, re.MULTILINE)
    return [
        [[cell.strip() for cell in line.strip("|").split("|")] for line in block.splitlines()]
        for block in blocks
    ]


def test_the_table_of_the_light_is_that_of_the_firmware() -> None:
    [table] = [table for table in tables_of(PAGES["troubleshooting.md"]) if table[0][0] == "pattern"]
    said = {row[0].replace(" ", "_"): row[1] for row in table[2:]}
    assert said == {name: ", ".join(map(str, steps)) for name, steps in PATTERNS.items()}
    assert set(said) == {value for name, value in vars(Pattern).items() if not name.startswith("_")}


def test_what_is_quoted_as_a_message_is_one() -> None:
    sources = "".join(
        path.read_text(encoding="utf-8")
        for folder in ("host", "firmware", "shared")
        for path in sorted((ROOT / folder).rglob("*.py"))
    )
    symptoms = [row[0] for table in tables_of(PAGES["troubleshooting.md"]) for row in table[2:]]
    quoted = [
        part
        for symptom in symptoms
        for words in re.findall(r"`([^`]+)`", symptom)
        if not SNYPER.match(words)
        for part in words.split("…")
    ]
    assert len(quoted) > 15
    for part in quoted:
        assert part.strip() in sources or part == "target_3", part


@pytest.mark.parametrize("name", ["build-a-target.md", "hub-board.md"])
def test_every_sample_of_a_fleet_is_valid(name: str, tmp_path: Path) -> None:
    samples = re.findall(r"^```toml\n(.*?)^```$", PAGES[name], re.MULTILINE | re.DOTALL)
    assert samples
    for sample in samples:
        path = tmp_path / "fleet.toml"
        path.write_text(sample, encoding="utf-8")
        assert fleet.load(path).boards


def test_the_sample_names_the_defaults(tmp_path: Path) -> None:
    [sample] = re.findall(r"^```toml\n(.*?)^```$", PAGES["build-a-target.md"], re.MULTILINE | re.DOTALL)
    path = tmp_path / "fleet.toml"
    path.write_text(sample, encoding="utf-8")
    [board] = fleet.load(path).boards
    _, given, _ = fleet.configuration(board, None, fleet.PLATFORM)
    plain = fleet.check("target", b"{}")
    assert given["servo"] == plain["servo"]
    assert given["piezo"] == plain["piezo"]


def test_what_is_said_of_a_hub_board_is_what_it_has() -> None:
    page = PAGES["hub-board.md"]
    plain = master_config.DEFAULTS
    assert f"| targets | {plain['max_targets']} |" in page
    assert f"| {plain['max_consoles']} | the network stack" in page
    point = plain["access_point"]
    assert f"The Wi-Fi is `{point['ssid']}`." in page
    assert point["password"] not in page


def test_the_micropython_that_is_asked_for_is_the_one_that_deploy_takes() -> None:
    wanted = ".".join(map(str, board_files.MIN_MICROPYTHON[:2]))
    assert f"version {wanted} or later" in PAGES["build-a-target.md"]


def test_the_plan_of_the_plate_is_a_sheet_of_a4() -> None:
    root = ElementTree.parse(ROOT / "docs" / "target-plate.svg").getroot()
    assert (root.attrib["width"], root.attrib["height"]) == ("210mm", "297mm")
    assert root.attrib["viewBox"] == "0 0 210 297"
