"""The log that outlives a reset: bounded, whole lines, read in pages."""

import os

from snyper.firmware.board.flash_log import MAX_FILE_BYTES, MAX_LINE_CHARS, MAX_LINES, FlashLog
from snyper.firmware.target.log_page import MAX_PAGE_BYTES, read_page

_PATH = "/tmp/snyper-test-%s.log" % bytes(os.urandom(4)).hex()
_OLD_PATH = _PATH + ".old"


def _new_log() -> FlashLog:
    """What another boot would have: its own allowance, the same files."""
    return FlashLog(_PATH, _OLD_PATH)


def _remove() -> None:
    for path in (_PATH, _OLD_PATH):
        try:
            os.remove(path)
        except OSError:
            continue


def _all() -> str:
    text = ""
    offset: "int | None" = 0
    while offset is not None:
        page, offset = read_page(offset, _PATH, _OLD_PATH)
        assert len(page.encode()) <= MAX_PAGE_BYTES
        assert page.endswith("\n") or not page
        text += page
    return text


def test_what_was_added_is_read_in_order() -> None:
    log = _new_log()
    try:
        assert _all() == ""
        log.append("first")
        log.append("second\nwith a traceback")
        log.append("dürr")
        assert _all() == "first\nsecond\nwith a traceback\ndürr\n"
    finally:
        _remove()


def test_it_stays_small_and_keeps_the_newest() -> None:
    try:
        for boot in range(20):
            log = _new_log()
            for number in range(20):
                log.append("boot %d entry %d %s" % (boot, number, "x" * 60))
        assert os.stat(_PATH)[6] <= MAX_FILE_BYTES
        assert os.stat(_OLD_PATH)[6] <= MAX_FILE_BYTES
        lines = _all().split("\n")
        assert lines[-2].startswith("boot 19 entry 19 ")
        assert len(lines) > 40
    finally:
        _remove()


def test_one_entry_cannot_fill_it() -> None:
    log = _new_log()
    try:
        log.append("\n".join(["y" * 300] * 30))
        assert os.stat(_PATH)[6] == MAX_LINES * (MAX_LINE_CHARS + 1)
    finally:
        _remove()


def test_a_flood_is_kept_only_in_part() -> None:
    log = _new_log()
    try:
        for number in range(100):
            log.append("entry %d" % number)
        assert _all().count("\n") == 30
    finally:
        _remove()


def test_a_flash_that_cannot_be_written_raises_nothing() -> None:
    paths = ("/tmp/there-is-no-such-folder/a.log", "/tmp/there-is-no-such-folder/b.log")
    FlashLog(paths[0], paths[1]).append("lost")
    assert read_page(0, paths[0], paths[1]) == ("", None)
