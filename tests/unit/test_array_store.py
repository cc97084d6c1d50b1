"""A store of arrays against a model of it, over restarts; and by several threads at once."""

import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy
import pytest
from hypothesis import given, settings, strategies as st

from snyper.arrays.npy import head_bytes, head_of, read_head
from snyper.arrays.store import Entry, InUseError, KeyReused, Limits, NoRoom, Store, Upload
from snyper.system.files import others_access

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abc"), st.sampled_from([None, "k", "l"])),
        st.tuples(st.just("delete"), st.integers(-2, 12)),
        st.tuples(st.just("restart")),
        st.tuples(st.just("litter"), st.integers(0, 12)),
    ),
    max_size=25,
)


def add(store: Store, name: str = "a", key: str | None = None, value: int = 0) -> Entry:
    content = head_bytes(head_of(numpy.zeros(1, "<i8"))) + value.to_bytes(8, "little")
    head = read_head(content)
    assert head is not None
    part = store.new_part()
    part.write_bytes(content)
    return store.add(part, head, Upload(name, key, name))


def test_a_store_is_what_its_model_is(tmp_path: Path) -> None:
    count = iter(range(10_000))

    @settings(max_examples=60)
    @given(STEPS)
    def check(steps: list[tuple[Any, ...]]) -> None:
        folder = tmp_path / str(next(count))
        store = Store(folder)
        model: dict[int, tuple[str, str | None, int]] = {}
        strangers: set[int] = set()
        used = -1
        for number, step in enumerate(steps):
            match step:
                case "add", name, key:
                    known = [
                        index for index, (_, other, _) in model.items() if key is not None and other == key
                    ]
                    if known and model[known[0]][0] != name:
                        with pytest.raises(KeyReused):
                            add(store, name, key, number)
                    elif known:
                        assert add(store, name, key, number).index == known[0]
                    else:
                        index = add(store, name, key, number).index
                        assert index == min(set(range(used + 1, 100)) - strangers)
                        used = index
                        model[index] = (name, key, number)
                case "delete", index:
                    assert store.delete(index) == (model.pop(index, None) is not None)
                case "litter", index if not store.path(index).exists():
                    store.path(index).write_text("somebody's own")
                    strangers.add(index)
                case ("restart",):
                    store.close()
                    store = Store(folder)
            assert store.count == len(model)
        assert [entry.index for entry in store.page(-1, 100)] == sorted(model)
        assert [entry.index for entry in store.page(3, 2)] == [index for index in sorted(model) if index > 3][
            :2
        ]
        for name in "abcd":
            newest = max((index for index, one in model.items() if one[0] == name), default=None)
            entry = store.find(name)
            assert (None if entry is None else entry.index) == newest
        for index, (name, _, number) in model.items():
            entry = store.get(index)
            assert entry is not None
            assert (entry.name, entry.head.shape) == (name, (1,))
            assert store.path(index).read_bytes()[entry.head.offset :] == number.to_bytes(8, "little")
        assert all(store.path(index).read_text() == "somebody's own" for index in strangers)
        assert {int(path.stem) for path in folder.glob("*.npy")} == set(model) | strangers
        store.close()
        with closing(Store(folder)) as again:
            assert list(again.parts.iterdir()) == []

    check()


def test_threads_at_once(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        found: list[list[int]] = [[] for _ in range(6)]

        def work(mine: list[int]) -> None:
            for number in range(15):
                index = add(store, value=number).index
                assert store.path(index).read_bytes()[-8:] == number.to_bytes(8, "little")
                mine.append(index)
                if number % 3 == 0:
                    assert store.delete(index)
                    assert store.get(index) is None
                store.page(-1, 5)

        threads = [threading.Thread(target=work, args=(mine,)) for mine in found]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(index for mine in found for index in mine) == list(range(90))
        assert store.count == len(store.page(-1, 1_000)) == 60


def test_a_file_in_the_place_of_a_deleted_one_is_somebody_s(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        for _ in range(2):
            store.delete(add(store).index)
            store.path(0).write_text("mine")
    with closing(Store(tmp_path)) as store:
        assert store.path(0).read_text() == "mine"


def test_arrays_are_their_owner_s_alone(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "arrays")) as store:
        path = store.path(add(store).index)
    assert path.is_file()
    assert not others_access(tmp_path / "arrays")
    assert not others_access(path)


def test_a_folder_is_one_store_s(tmp_path: Path) -> None:
    with closing(Store(tmp_path)), pytest.raises(InUseError, match="another process serves the arrays in"):
        Store(tmp_path)
    Store(tmp_path).close()


def test_a_store_that_is_full_takes_no_more(tmp_path: Path) -> None:
    with closing(Store(tmp_path, Limits(max_arrays=1))) as store:
        add(store)
        with pytest.raises(NoRoom, match="there are 1 arrays"):
            add(store)
        assert len(list(tmp_path.glob("*.npy"))) == 1
    with (
        closing(Store(tmp_path, Limits(keep_free_bytes=1 << 60))) as store,
        pytest.raises(NoRoom, match="the disk"),
    ):
        add(store)


def test_an_index_of_another_version_is_left_alone(tmp_path: Path) -> None:
    with closing(Store(tmp_path)) as store:
        add(store)
        store._db.execute("PRAGMA user_version = 99")
    with pytest.raises(OSError, match="another version of snyper"):
        Store(tmp_path)
    Path(tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="no arrays can be kept in"):
        Store(tmp_path / "file")


def test_arrays_are_deleted_where_the_disk_is_full(small_disk: Path) -> None:
    """Each time to the last byte, and over a restart: an array is smaller than what a deletion writes."""
    store = Store(small_disk / "arrays", Limits(keep_free_bytes=0))
    for _ in range(300):
        add(store)
    for index in range(300):
        if index == 150:
            store.close()
            store = Store(small_disk / "arrays", Limits(keep_free_bytes=0))
        _fill(small_disk / "fill")
        assert store.delete(index), index
        assert not store.path(index).exists()
    assert (store.count, store.page(-1, 10)) == (0, [])
    (small_disk / "fill").unlink()
    assert add(store).index == 300
    store.close()


def _fill(path: Path) -> None:
    with path.open("ab", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(4_096))
