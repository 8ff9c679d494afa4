from __future__ import annotations

import pytest

from toolchain.files import sha256_of, write_atomically


def test_writes_text_and_bytes_into_new_folders(tmp_path):
    write_atomically(tmp_path / "new" / "text", "höhe\n")
    write_atomically(tmp_path / "new" / "bytes", b"\0\1")

    assert (tmp_path / "new" / "text").read_bytes() == "höhe\n".encode()
    assert (tmp_path / "new" / "bytes").read_bytes() == b"\0\1"


def test_what_was_there_survives_a_write_that_fails(tmp_path):
    path = tmp_path / "file"
    path.write_text("old")

    with pytest.raises(UnicodeEncodeError):
        write_atomically(path, "\ud800")

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_is_named_by_its_files_and_their_content(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name / "sub").mkdir(parents=True)
        (tmp_path / name / "sub" / "file").write_text("same")
    assert sha256_of(tmp_path / "a") == sha256_of(tmp_path / "b")

    (tmp_path / "b" / "sub" / "file").rename(tmp_path / "b" / "sub" / "other")

    assert sha256_of(tmp_path / "a") != sha256_of(tmp_path / "b")
