"""What the user wants, from `shelfcast.toml`: data, network, compression, board, validation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from toolchain.errors import ProjectError
from toolchain.settings import Settings, read_toml

PROJECT_FILE = "shelfcast.toml"

Feature = Literal["units", "weekday", "month"]


class Data(Settings):
    """Which sales, and how they are split by time."""

    source: str
    """`complete_journey`, `synthetic`, or a CSV file (`.gz` too), relative to the project."""

    date: str = "date"
    keys: tuple[str, ...] = ()
    value: str = "sales"
    """CSV only: the columns that hold the day, the names of a series, and the units sold."""

    select: dict[str, tuple[str | int, ...]] = {}
    """CSV only: keep the rows whose key column has one of these values."""

    top: int | None = Field(default=None, ge=1)
    """Keep this many series, those that sold most before the test days."""

    fill: Literal["zero", "previous", "refuse"] = "zero"
    """A day without a row: nothing was sold, the same as the day before, or an error."""

    validation_days: int = Field(default=30, ge=1)
    test_days: int = Field(default=60, ge=1)
    """The last days, held out; the days before them, for early stopping. The rest trains."""

    seed: int = Field(default=1, ge=0)
    """`synthetic` only: the generator's seed."""


class Network(Settings):
    """The float network and its training."""

    window: int = Field(default=28, ge=2, le=365)
    """Days the network sees before the day it forecasts."""

    features: tuple[Feature, ...] = ("units",)
    """Inputs per day. `weekday` and `month` are two each (sine, cosine), of the *next* day."""

    hidden: tuple[Annotated[int, Field(ge=1, le=256)], ...] = (16,)
    """Hidden size of each LSTM layer, first to last."""

    epochs: int = Field(default=8, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=0.002, gt=0, lt=1)
    max_windows: int | None = Field(default=None, ge=1)
    """Train on a seeded sample of this many windows."""

    seed: int = Field(default=1, ge=0)

    @field_validator("features")
    @classmethod
    def _units_come_first(cls, features: tuple[Feature, ...]) -> tuple[Feature, ...]:
        if not features or features[0] != "units" or len(set(features)) != len(features):
            raise ValueError('the first feature is "units", and each is named once.')
        return features

    @field_validator("hidden")
    @classmethod
    def _at_least_one_layer(cls, hidden: tuple[int, ...]) -> tuple[int, ...]:
        if not hidden:
            raise ValueError("at least one LSTM layer is needed, such as [16].")
        return hidden


class Compression(Settings):
    """How the float network becomes integers."""

    representative_windows: int = Field(default=512, ge=1)
    """Training windows the converter sees to choose the scales."""


class BoardChoice(Settings):
    """Which board."""

    name: str = "netduinoplus2"


class Serial(Settings):
    """The cable, when there is one."""

    port: str | None = None
    """`/dev/ttyACM0`, `COM3`, `socket://host:port`; absent: the board's emulator."""


class Validation(Settings):
    """What is replayed on the board, and what is good enough."""

    windows: int | None = Field(default=None, ge=1)
    """Held-out windows to replay, spread evenly; absent: all of them."""

    state_windows: int = Field(default=24, ge=0)
    """Windows in which every h and c of every step is compared too."""

    sequences: int = Field(default=8, ge=0)
    """Runs of consecutive windows replayed with the state carried over."""

    max_mae_loss_percent: float | None = Field(default=None, gt=0)
    """Fail when the device's MAE is more than this above the float network's."""


class Project(Settings):
    """A whole project file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    data: Data
    network: Network = Network()
    compression: Compression = Compression()
    board: BoardChoice = BoardChoice()
    serial: Serial = Serial()
    validation: Validation = Validation()

    @model_validator(mode="after")
    def _csv_names_its_series(self) -> Project:
        if self.data.source in ("complete_journey", "synthetic") and (
            self.data.select or self.data.keys
        ):
            raise ValueError(
                f'data.keys and data.select are for CSV files, not "{self.data.source}".'
            )
        return self


def find_project(path: Path) -> Path:
    """Return the project file that `path`, a file or a folder, means."""
    return path / PROJECT_FILE if path.is_dir() else path


def read_project(path: Path) -> Project:
    """Read a project file, or the one in a folder.

    Raises:
        ProjectError: absent, not TOML, an unknown key, or an impossible value.
    """
    file = find_project(path)
    if not file.exists():
        raise ProjectError(
            f"{file}: no such file. `shelfcast init` makes a project that runs as it is."
        )
    return read_toml(file, Project, ProjectError)
