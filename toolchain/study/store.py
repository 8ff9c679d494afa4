"""Keep what is costly: each trained model in a folder named by what it was made from.

A folder appears whole, by a rename, or not at all; what lies in it is checked by its hashes
whenever it is used. So a study may be killed at any moment, and goes on from there.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolchain.files import sha256_of, write_atomically
from toolchain.network.candidate import HISTORY_FILE, INTEGER_FILE, MODEL_FILE

ENTRY_FILE = "entry.json"
FILES = (MODEL_FILE, INTEGER_FILE, HISTORY_FILE)
_LEFT_OVER_S = 24 * 3600


@dataclass(frozen=True)
class Entry:
    """A trained model on disk, and what its worker said about it."""

    folder: Path
    about: dict[str, Any]


class Damaged(Exception):
    """What is stored is not what was written; said in one line."""


@dataclass(frozen=True)
class Store:
    """A folder of entries."""

    path: Path

    def find(self, key: str) -> Entry | None:
        """Return an entry whose files are what was written.

        Raises:
            Damaged: they are not.
        """
        folder = self.path / key
        if not folder.is_dir():
            return None
        try:
            entry = json.loads((folder / ENTRY_FILE).read_text(encoding="utf-8"))
            written, about = entry["files"], entry["about"]
            if entry["sha256"] != _hash_of(about):
                raise Damaged(f"{folder / ENTRY_FILE} was changed")
            for name in FILES:
                if sha256_of(folder / name) != written[name]:
                    raise Damaged(f"{folder / name} was changed")
        except (OSError, ValueError, KeyError, TypeError) as cause:
            raise Damaged(f"{folder} cannot be read ({type(cause).__name__})") from cause
        return Entry(folder, about)

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """Yield a folder to make an entry in; it is gone afterwards, whatever happened."""
        self.path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(
            prefix=".making.", dir=self.path, ignore_cleanup_errors=True
        ) as folder:
            yield Path(folder)

    def keep(self, key: str, made: Path, about: Mapping[str, Any]) -> Entry:
        """Take what was made into the store: the files of a finished training, and a few words."""
        values = dict(about)
        entry = {
            "about": values,
            "sha256": _hash_of(values),
            "files": {name: sha256_of(made / name) for name in FILES},
        }
        text = json.dumps(entry, indent=2, sort_keys=True) + "\n"
        folder = self.path / key
        with self.scratch() as place:
            whole = place / "entry"
            whole.mkdir()
            for name in FILES:
                (made / name).replace(whole / name)
            write_atomically(whole / ENTRY_FILE, text)
            if folder.exists():
                folder.replace(place / "old")
            whole.replace(folder)
        return Entry(folder, values)

    def drop(self, key: str) -> None:
        """Forget an entry."""
        shutil.rmtree(self.path / key, ignore_errors=True)

    def tidy(self) -> None:
        """Remove what studies that were killed left half made, a day later."""
        for folder in self.path.glob(".making.*"):
            try:
                old = time.time() - folder.stat().st_mtime > _LEFT_OVER_S
            except FileNotFoundError:
                continue
            if old:
                shutil.rmtree(folder, ignore_errors=True)


def _hash_of(about: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(about, sort_keys=True).encode()).hexdigest()
