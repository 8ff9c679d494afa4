from __future__ import annotations

import pytest

from toolchain.errors import ProjectError
from toolchain.project import read_project

WHOLE = """\
name = "shop"
[data]
source = "sales.csv"
keys = ["store"]
select = { store = [1, "two"] }
[network]
hidden = [32, 16]
features = ["units", "weekday"]
"""


def refusal(tmp_path, text: str) -> str:
    path = tmp_path / "shelfcast.toml"
    path.write_text(text)
    with pytest.raises(ProjectError) as caught:
        read_project(path)
    assert caught.value.exit_code == 2
    words = str(caught.value)
    assert "\n" not in words
    return words.removeprefix(f"{path}: ")


def test_reads_a_file_or_the_folder_it_lies_in(tmp_path):
    (tmp_path / "shelfcast.toml").write_text(WHOLE)

    project = read_project(tmp_path)

    assert project == read_project(tmp_path / "shelfcast.toml")
    assert project.network.hidden == (32, 16)
    assert project.data.select == {"store": (1, "two")}
    assert project.board.name == "netduinoplus2"


def test_no_file(tmp_path):
    with pytest.raises(ProjectError, match=r"no such file\. `shelfcast init` makes a project"):
        read_project(tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            ("hidden =", "hiden ="),
            "network.hiden: unknown key; did you mean hidden? Known: hidden, batch_size, epochs, "
            "features, learning_rate, level_range, max_windows, model, patience, seed, window.",
        ),
        (
            ("[network]", "[networks]"),
            "networks: unknown key; did you mean network? Known: network, board, compression, "
            "data, firmware, name, serial, shelf, study, validation.",
        ),
        (
            ("hidden = [32, 16]", 'hidden = "32"'),
            "network.hidden: Input should be a valid tuple (got '32').",
        ),
        (
            ("hidden = [32, 16]", "hidden = [0]"),
            "network.hidden.0: Input should be greater than or equal to 1 (got 0).",
        ),
        (
            ("hidden = [32, 16]", "hidden = []"),
            "network.hidden: at least one LSTM layer is needed, such as [16].",
        ),
        (
            ("hidden = [32, 16]", "epochs = 2.5"),
            "network.epochs: Input should be a valid integer (got 2.5).",
        ),
        (
            ('"units", "weekday"', '"weekday"'),
            'network.features: the first feature is "units", and each is named once.',
        ),
        (
            ('"units", "weekday"', '"units", "moon"'),
            "network.features.1: Input should be 'units', 'weekday' or 'month' (got 'moon').",
        ),
        (
            ('source = "sales.csv"\n', ""),
            "data.source: missing; it has no default.",
        ),
        (
            ('"sales.csv"', '"synthetic"'),
            'file: data.keys and data.select are for CSV files, not "synthetic".',
        ),
        (
            ('name = "shop"', 'name = "../shop"'),
            "name: String should match pattern '^[A-Za-z0-9][A-Za-z0-9_-]*$' (got '../shop').",
        ),
        (
            ("hidden = [32, 16]", "window = 1\nepochs = 0"),
            "network.window: Input should be greater than or equal to 2 (got 1). (1 more mistake "
            "after it.)",
        ),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path, change, words):
    assert refusal(tmp_path, WHOLE.replace(*change)) == words


def test_not_toml(tmp_path):
    assert refusal(tmp_path, "name = shop").startswith("not TOML: ")


def test_not_utf8(tmp_path):
    path = tmp_path / "shelfcast.toml"
    path.write_bytes(b'name = "caf\xe9"')

    with pytest.raises(ProjectError, match=r"cannot be read: 'utf-8' codec can't decode byte 0xe9"):
        read_project(path)
