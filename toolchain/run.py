"""A run folder: the files of every stage, and the manifest that says what each was made from.

A stage is skipped when its inputs have not changed and its outputs are still what it wrote. That
makes a run resumable: whatever was interrupted is done again, and nothing else.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolchain import __version__
from toolchain.errors import RunError
from toolchain.files import sha256_of, write_atomically

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class RunFolder:
    """A folder such as `runs/complete_journey`."""

    path: Path

    # Where every stage's files are. One project's stages lie at the top, a board's below its name.

    @property
    def dataset(self) -> Path:
        """Sales, scaling, and which windows are held out."""
        return self.path / "windows.npz"

    @property
    def float_model(self) -> Path:
        """The trained network."""
        return self.path / "float.h5"

    @property
    def model(self) -> Path:
        """The quantized network."""
        return self.path / "model.tflite"

    @property
    def host_forecasts(self) -> Path:
        """What the float network and LiteRT forecast for the held-out windows."""
        return self.path / "forecasts.npz"

    @property
    def import_record(self) -> Path:
        """How a rebuilt network compares with the original it came from, as JSON."""
        return self.path / "import.json"

    @property
    def given_windows(self) -> Path:
        """Representative windows that came with a model without a project."""
        return self.path / "representative.npy"

    @property
    def random_windows(self) -> Path:
        """What stands in for them when none were given."""
        return self.path / "random.npy"

    def sources(self, board: str) -> Path:
        """The firmware's C sources."""
        return self.path / board / "sources"

    def image(self, board: str) -> Path:
        """The linked firmware."""
        return self.path / board / "image" / "firmware.elf"

    def validation(self, board: str) -> Path:
        """The verdict, as JSON."""
        return self.path / board / "validation.json"

    def picture(self, board: str) -> Path:
        """A few series: sold, forecast by the float network, forecast by the device."""
        return self.path / board / "forecasts.png"

    @property
    def ledger(self) -> Path:
        """What was predicted of each firmware, and what came out."""
        return self.path / "ledger.jsonl"

    # A study has a folder of its own in the run's, and each of its models one in the study's.

    def study(self, *, quick: bool = False) -> Path:
        """The folder of the project's study, or of its quick form."""
        return self.path / ("study-quick" if quick else "study")

    def study_model(self, name: str) -> RunFolder:
        """The run folder of one model."""
        return RunFolder(self.path / "models" / name)

    @property
    def study_results(self) -> Path:
        """All rows of a study, and what was picked, as JSON."""
        return self.path / "results.json"

    @property
    def study_table(self) -> Path:
        """The rows as CSV."""
        return self.path / "results.csv"

    @property
    def study_picture(self) -> Path:
        """Accuracy against flash."""
        return self.path / "front.png"

    def do(
        self,
        stage: str,
        inputs: Mapping[str, Any],
        outputs: Sequence[Path],
        work: Callable[[], None],
    ) -> bool:
        """Do the work of a stage unless it is done; return whether it was.

        Args:
            stage: its name, with the board's where there is one.
            inputs: all that the outputs depend on, as JSON values (files by their hash).
            outputs: what the work writes.
            work: writes the outputs.
        """
        key = _hash_of(inputs)
        if self._is_done(stage, key, outputs):
            return False
        self.forget(stage)
        work()
        self._remember(stage, key, outputs)
        return True

    def _is_done(self, stage: str, key: str, outputs: Sequence[Path]) -> bool:
        entry = self._manifest().get(stage)
        if not isinstance(entry, dict) or entry.get("inputs") != key:
            return False
        return all(
            output.exists()
            and entry.get("outputs", {}).get(self._name(output)) == sha256_of(output)
            for output in outputs
        )

    def _remember(self, stage: str, key: str, outputs: Sequence[Path]) -> None:
        hashes = {self._name(output): sha256_of(output) for output in outputs}
        self._write({**self._manifest(), stage: {"inputs": key, "outputs": hashes}})

    def forget(self, stage: str) -> None:
        """Have a stage done again the next time."""
        manifest = self._manifest()
        if manifest.pop(stage, None) is not None:
            self._write(manifest)

    def _manifest(self) -> dict[str, Any]:
        path = self.path / MANIFEST
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as cause:
            raise RunError(
                f"{path}: cannot be read: {cause}. Delete it; every stage is then done again."
            ) from cause
        return manifest if isinstance(manifest, dict) else {}

    def _write(self, manifest: dict[str, Any]) -> None:
        text = json.dumps(manifest, indent=2, sort_keys=True)
        write_atomically(self.path / MANIFEST, text + "\n")

    def _name(self, output: Path) -> str:
        return output.relative_to(self.path).as_posix()


def code_version(*rooms: str) -> str:
    """Name the version of the tool and of the code that a stage runs."""
    package = Path(__file__).parent
    files = [file for room in rooms for file in sorted((package / room).rglob("*.py"))]
    return f"{__version__} {' '.join(sha256_of(file) for file in files)}"


def _hash_of(inputs: Mapping[str, Any]) -> str:
    text = json.dumps(inputs, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()
