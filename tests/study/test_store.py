from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from toolchain.study.store import FILES, Damaged, Store

ABOUT = {"seed": 1, "scores": {"mae": 0.1}}


def kept(tmp_path: Path) -> Store:
    store = Store(tmp_path / "trained")
    with store.scratch() as made:
        for name in FILES:
            (made / name).write_bytes(name.encode())
        store.keep("abc", made, ABOUT)
    return store


def test_what_is_kept_is_found(tmp_path):
    store = kept(tmp_path)

    entry = store.find("abc")

    assert entry is not None
    assert entry.about == ABOUT
    assert [(entry.folder / name).read_bytes() for name in FILES] == [it.encode() for it in FILES]
    assert [path.name for path in store.path.iterdir()] == ["abc"]


def test_what_is_not_kept_is_not_found(tmp_path):
    assert Store(tmp_path).find("abc") is None


def test_what_is_kept_again_replaces_it(tmp_path):
    store = kept(tmp_path)
    with store.scratch() as made:
        for name in FILES:
            (made / name).write_bytes(b"other")
        store.keep("abc", made, ABOUT)

    assert (store.path / "abc" / FILES[0]).read_bytes() == b"other"
    assert [path.name for path in store.path.iterdir()] == ["abc"]


@pytest.mark.parametrize("name", [*FILES, "entry.json"])
def test_a_file_that_was_cut_off(tmp_path, name):
    store = kept(tmp_path)
    path = store.path / "abc" / name
    path.write_bytes(path.read_bytes()[:-3])

    with pytest.raises(Damaged, match="abc"):
        store.find("abc")


@pytest.mark.parametrize("name", [*FILES, "entry.json"])
def test_a_file_that_is_gone(tmp_path, name):
    store = kept(tmp_path)
    (store.path / "abc" / name).unlink()

    with pytest.raises(Damaged, match=r"abc cannot be read \(FileNotFoundError\)"):
        store.find("abc")


def test_a_figure_that_was_edited(tmp_path):
    store = kept(tmp_path)
    entry = store.path / "abc" / "entry.json"
    entry.write_text(entry.read_text().replace("0.1", "0.2"))

    with pytest.raises(Damaged, match=r"entry\.json was changed"):
        store.find("abc")


def test_leftovers_are_removed_a_day_later(tmp_path):
    store = kept(tmp_path)
    for name, age_s in ((".making.old", 100_000), (".making.new", 100)):
        (store.path / name).mkdir()
        (store.path / name / "float.h5").write_bytes(b"half")
        os.utime(store.path / name, (time.time() - age_s,) * 2)

    store.tidy()

    assert sorted(path.name for path in store.path.iterdir()) == [".making.new", "abc"]
