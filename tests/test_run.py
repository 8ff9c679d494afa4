from __future__ import annotations

import pytest

from toolchain.errors import RunError
from toolchain.run import RunFolder


@pytest.fixture
def run(tmp_path):
    return RunFolder(tmp_path)


class Work:
    """Writes a file and counts how often."""

    def __init__(self, path):
        self.path = path
        self.count = 0

    def __call__(self):
        self.count += 1
        self.path.write_text(f"made {self.count} times")


def test_a_stage_is_done_once(run, tmp_path):
    work = Work(tmp_path / "out")

    assert run.do("stage", {"seed": 1}, [work.path], work)
    assert not run.do("stage", {"seed": 1}, [work.path], work)
    assert work.count == 1


def test_other_inputs_have_it_done_again(run, tmp_path):
    work = Work(tmp_path / "out")
    run.do("stage", {"seed": 1}, [work.path], work)

    assert run.do("stage", {"seed": 2}, [work.path], work)


@pytest.mark.parametrize("spoil", ["delete", "change"])
def test_an_output_that_is_not_what_was_written_is_made_again(run, tmp_path, spoil):
    work = Work(tmp_path / "out")
    run.do("stage", {}, [work.path], work)
    work.path.unlink() if spoil == "delete" else work.path.write_text("edited by hand")

    assert run.do("stage", {}, [work.path], work)
    assert work.path.read_text() == "made 2 times"


def test_work_that_fails_is_not_taken_for_done(run, tmp_path):
    work = Work(tmp_path / "out")
    run.do("stage", {}, [work.path], work)

    def fails():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.do("stage", {"changed": True}, [work.path], fails)

    assert run.do("stage", {}, [work.path], work), "an interrupted stage may have left anything"


def test_a_damaged_manifest(run, tmp_path):
    (tmp_path / "manifest.json").write_text("{ half")

    with pytest.raises(
        RunError, match=r"manifest\.json: cannot be read: .* Delete it; every stage"
    ):
        run.do("stage", {}, [], lambda: None)
