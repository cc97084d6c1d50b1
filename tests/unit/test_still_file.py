"""A file that others write is taken once it is still."""

from pathlib import Path

from snyper.system.still_file import StillFile


def test_a_file_that_is_written_in_place_is_taken_once_it_is_still(tmp_path: Path) -> None:
    path = tmp_path / "keys.toml"
    path.write_text("a")
    file = StillFile(path)
    assert not file.has_changed()  # that may be half of it
    assert file.has_changed()
    assert file.has_changed()  # until it is taken
    file.take()
    assert not file.has_changed()
    for content in ("", "b", "bb", "bbb"):
        path.write_text(content)
        assert not file.has_changed()
    assert file.has_changed()
    file.take()
    for _ in range(2):
        path.unlink()
        assert not file.has_changed()
        path.write_text("another")
        assert not file.has_changed()
    assert file.has_changed()


def test_a_file_that_is_gone_or_can_be_read_once(tmp_path: Path) -> None:
    file = StillFile(tmp_path)
    assert not file.has_changed()
    assert file.has_changed()
    assert file.stamp is None
