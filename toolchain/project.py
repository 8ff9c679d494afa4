"""What the user wants, from `shelfcast.toml`: data, network, compression, board, validation."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from toolchain.errors import ProjectError
from toolchain.settings import Settings, read_toml

PROJECT_FILE = "shelfcast.toml"

Feature = Literal["units", "weekday", "month"]
Structure = Literal["dense", "scattered", "blocks"]
Hidden = Annotated[int, Field(ge=1, le=256)]
Share = Annotated[float, Field(ge=0, lt=1)]


def units_first(features: tuple[Feature, ...]) -> tuple[Feature, ...]:
    """Refuse features that are not the units and then others, each once."""
    if not features or features[0] != "units" or len(set(features)) != len(features):
        raise ValueError('the first feature is "units", and each is named once.')
    return features


class Data(Settings):
    """Which sales, and how they are split by time."""

    source: str
    """`complete_journey`, `synthetic`, or a CSV file (`.gz` too), relative to the project."""

    source_variable: str | None = None
    """An environment variable that, where it is set, says where the CSV file is instead."""

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

    model: str | None = None
    """A finished network that somebody trained, relative to the project: .keras, .h5, a SavedModel
    folder, or an INT8 .tflite. `window` and `features` say what it reads; nothing is trained."""

    window: int = Field(default=28, ge=2, le=365)
    """Days the network sees before the day it forecasts."""

    features: tuple[Feature, ...] = ("units",)
    """Inputs per day. `weekday` and `month` are two each (sine, cosine), of the *next* day."""

    hidden: tuple[Hidden, ...] = (16,)
    """Hidden size of each LSTM layer, first to last."""

    epochs: int = Field(default=8, ge=1)
    batch_size: int = Field(default=64, ge=1)
    learning_rate: float = Field(default=0.002, gt=0, lt=1)
    """At the start; it falls to 0 over the epochs."""

    patience: int = Field(default=5, ge=1)
    """Epochs without a better validation error before training stops."""

    level_range: float = Field(default=0.0, ge=0, le=1)
    """Train as if each window's series sold more or less by a random factor, from exp(-this) to
    exp(this): for sales that grow."""

    max_windows: int | None = Field(default=None, ge=1)
    """Train on a seeded sample of this many windows."""

    seed: int = Field(default=1, ge=0)

    @field_validator("features")
    @classmethod
    def _units_come_first(cls, features: tuple[Feature, ...]) -> tuple[Feature, ...]:
        return units_first(features)

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

    oracle: Literal["double", "float32"] = "double"
    """Which TFLite Micro the forecasts equal: how it multiplies scales changed. `double` is the
    `tflite-micro` package that is tested against."""


class BoardChoice(Settings):
    """Which board, and what its firmware is made for."""

    name: str = "netduinoplus2"

    profile: Literal["auto", "speed", "size"] = "auto"
    """The fewest instructions, or the fewest bytes; auto: bytes on a board with less than 64 KiB of
    flash, instructions on all others."""


Runtime = Literal["engine", "tflm"]


class Firmware(Settings):
    """What runs on the board."""

    runtime: Runtime = "engine"
    """What computes the forecasts: the engine, or the interpreter of your own TensorFlow Lite
    Micro."""

    application: Literal["console", "shelf"] = "console"
    """`shelf`: beside the console, the application that takes sales and says when to order."""


class Shelf(Settings):
    """How a shelf forecasts; docs/shelf.md says what it does."""

    forecast: Literal["window", "stream"] = "window"
    """A window from the zero state for each day, or one step of a state that goes on."""

    horizon: int = Field(default=14, ge=1, le=31)
    """The most days ahead, where the model has one output. More take RAM."""


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


class StudyModel(Settings):
    """A model that the study tries besides its grid; what is absent is the project's network's."""

    name: str | None = Field(default=None, pattern=r"^[A-Za-z0-9][A-Za-z0-9_.+-]*$")
    """Absent: named by what it is, such as `lstm16-blocks70`."""

    hidden: Annotated[tuple[Hidden, ...], Field(min_length=1)] | None = None
    features: tuple[Feature, ...] | None = None
    structure: Structure = "dense"
    sparsity: Share = 0.0
    sparsity_of: Literal["weights", "parameters"] = "weights"
    """What `sparsity` is a share of: the LSTM's weights, or all parameters. Zeros are only ever
    among the LSTM's weights."""

    aware: bool = False
    """Fine-tune with the arithmetic of the integer engine."""

    epochs: int | None = Field(default=None, ge=1)

    @field_validator("features")
    @classmethod
    def _units_come_first(cls, features: tuple[Feature, ...] | None) -> tuple[Feature, ...] | None:
        return None if features is None else units_first(features)

    @model_validator(mode="after")
    def _zeros_have_a_structure(self) -> StudyModel:
        if (self.sparsity > 0) != (self.structure != "dense"):
            raise ValueError(
                f'sparsity {self.sparsity:g} and structure "{self.structure}" do not go together: '
                'zeros are "scattered" or in "blocks".'
            )
        return self


class Budget(Settings):
    """What a model may cost. Losses are against the float baseline, on the validation days."""

    mape_points: float | None = Field(default=None, ge=0)
    """Points of MAPE above the baseline's."""

    mae_percent: float | None = Field(default=None, ge=0)
    """How much larger than the baseline's the MAE may be."""

    flash_bytes: int | None = Field(default=None, ge=1)
    """Of the model, its tables, and the engine that reads them."""


class Quick(Settings):
    """What `--quick` makes of a study."""

    epochs: int = Field(default=3, ge=1)
    seeds: int = Field(default=1, ge=1)
    """How many of the study's seeds."""

    max_windows: int = Field(default=8_000, ge=1)


class Study(Settings):
    """What `shelfcast compress` tries: every combination, and the models named one by one.

    The project's own network is always among them: its float form is the baseline.
    """

    hidden: tuple[Hidden, ...] = (8, 16, 32)
    layers: tuple[Annotated[int, Field(ge=1, le=4)], ...] = (1,)
    """Numbers of LSTM layers, all of the same hidden size."""

    features: tuple[tuple[Feature, ...], ...] | None = None
    """Sets of inputs; absent: the project's."""

    structures: tuple[Literal["scattered", "blocks"], ...] = ("blocks",)
    sparsity: tuple[Share, ...] = (0.0, 0.5, 0.7)
    """Shares of the LSTM's weights that become zero; 0 is a dense model."""

    aware: tuple[bool, ...] = (False,)
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (1, 2, 3)
    search: Literal["grid", "race"] = "grid"
    """`race`: only models that the first seed shows to be worth it are trained with the others."""

    margin_percent: float = Field(default=1.0, ge=0)
    """`race`: how much worse than a smaller model's the MAE may be."""

    models: tuple[StudyModel, ...] = ()
    budget: Budget = Budget()
    quick: Quick = Quick()

    @field_validator("features")
    @classmethod
    def _units_come_first(
        cls, features: tuple[tuple[Feature, ...], ...] | None
    ) -> tuple[tuple[Feature, ...], ...] | None:
        return None if features is None else tuple(map(units_first, features))

    @field_validator("seeds")
    @classmethod
    def _seeds_differ(cls, seeds: tuple[int, ...]) -> tuple[int, ...]:
        if len(set(seeds)) != len(seeds):
            raise ValueError("a seed is named twice; the spread over seeds needs different ones.")
        return seeds


class Project(Settings):
    """A whole project file."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$")
    data: Data
    network: Network = Network()
    compression: Compression = Compression()
    board: BoardChoice = BoardChoice()
    firmware: Firmware = Firmware()
    shelf: Shelf = Shelf()
    serial: Serial = Serial()
    validation: Validation = Validation()
    study: Study = Study()

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
