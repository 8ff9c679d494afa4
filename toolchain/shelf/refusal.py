"""Why a shelf refuses what it is told; its state is as it was."""

from __future__ import annotations


class Refused(Exception):
    """A request that a shelf does not carry out."""

    def __init__(self, code: str, words: str) -> None:
        """Refuse for one of `protocol.ERROR_CODES`, with the reason for people."""
        super().__init__(f"{code}: {words}")
        self.code = code
        self.words = words
