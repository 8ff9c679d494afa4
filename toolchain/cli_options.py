"""Arguments and options that several verbs take."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

ProjectPath = Annotated[
    Path,
    typer.Argument(
        help="The project: a shelfcast.toml, or a folder with one. Or a finished model: .tflite, "
        ".keras, .h5, a SavedModel folder."
    ),
]
Representative = Annotated[
    Path | None,
    typer.Option(
        "--representative",
        help="Windows for a model without a project: an .npy file of (windows, steps, features).",
    ),
]
RunPath = Annotated[
    Path | None, typer.Option("--run", help="The run folder. Default: runs/<project name>.")
]
BoardName = Annotated[
    str | None, typer.Option("--board", help="The board; `shelfcast boards` lists them.")
]
BoardsDir = Annotated[
    Path | None, typer.Option("--boards-dir", help="Look for boards in this folder too.")
]
Port = Annotated[
    str | None,
    typer.Option(
        "--port",
        help="/dev/ttyACM0, COM3, socket://host:port; auto: found by its USB id. "
        "Default: the board's emulator, or auto when it has none.",
    ),
]
Windows = Annotated[
    int | None, typer.Option("--windows", min=1, help="Replay this many held-out windows.")
]
Limit = Annotated[
    float | None,
    typer.Option(
        "--limit", min=0.001, help="Fail when the device's MAE is more percent above float's."
    ),
]
Model = Annotated[
    str | None,
    typer.Option("--model", help="A model that `shelfcast compress` tried, or: picked."),
]
BuildProfile = Annotated[
    Literal["speed", "size"] | None,
    typer.Option("--profile", help="Make the firmware fast or small. Default: by the board."),
]
RuntimeName = Annotated[
    Literal["engine", "tflm"] | None,
    typer.Option(
        "--runtime",
        help="What computes: the engine, or your own TensorFlow Lite Micro. "
        "Default: the project's.",
    ),
]
TflmInclude = Annotated[
    str | None,
    typer.Option(
        "--tflm-include",
        help="Folders with the headers of TensorFlow Lite Micro, separated as in PATH. "
        "Default: SHELFCAST_TFLM_INCLUDE.",
    ),
]
TflmLib = Annotated[
    str | None,
    typer.Option(
        "--tflm-lib", help="Its library, built for the board's core. Default: SHELFCAST_TFLM_LIB."
    ),
]
OracleChoice = Annotated[
    Literal["double", "float32"] | None,
    typer.Option(
        "--oracle",
        help="How the TFLite Micro to be equalled multiplies scales. Default: the project's.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Oracle = Annotated[
    Literal["double", "float32"],
    typer.Option("--oracle", help="How the TFLite Micro to be equalled multiplies scales."),
]
HERE = Path()
