from __future__ import annotations

import pytest

from toolchain.shelf.refusal import Refused
from toolchain.shelf.settings import Settings, settings_of

WORDS = ("milk-3", "24.5", "8.25", "2", "1.5", "12")


def test_words_become_settings_and_words_again():
    settings = settings_of(WORDS, horizon=14)

    assert settings == Settings("milk-3", 1_605_632, 540_672, 2, 6, 786_432)
    assert settings.horizon == 4
    assert settings.words() == WORDS


@pytest.mark.parametrize(
    ("place", "word", "code"),
    [
        (0, "", "args"),
        (0, "sixteen-letters-", "args"),
        (0, "a/b", "args"),
        (1, "-1", "args"),
        (1, "many", "args"),
        (2, "0", "range"),
        (3, "-1", "args"),
        (3, "1.5", "args"),
        (3, "14", "range"),
        (3, "99999999999", "range"),
        (4, "1.1", "range"),
        (4, "12.25", "range"),
        (5, "40000", "args"),
    ],
)
def test_what_cannot_be_is_refused(place, word, code):
    words = (*WORDS[:place], word, *WORDS[place + 1 :])

    with pytest.raises(Refused) as refused:
        settings_of(words, horizon=14)

    assert refused.value.code == code


def test_no_days_ahead_are_refused():
    with pytest.raises(Refused, match="lead and safety are 1 to 14 days together"):
        settings_of((*WORDS[:3], "0", "0", "0"), horizon=14)


def test_six_words_are_needed():
    with pytest.raises(Refused, match="args"):
        settings_of(WORDS[:5], horizon=14)
