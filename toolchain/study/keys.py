"""Name what a result depends on, so that it is made again when any of that changes."""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

import toolchain
from toolchain.files import sha256_of
from toolchain.network.candidate import Candidate
from toolchain.run import code_version

# What the room of training uses of others.
_USED_IN_TRAINING = (
    "demand/windows.py",
    "graph/constants.py",
    "graph/fixed_point.py",
    "graph/types.py",
)
_PACKAGES = ("numpy", "tensorflow", "tensorflow-model-optimization", "tf-keras")


@functools.cache
def training_code() -> str:
    """Name all that decides what a training gives, besides data and settings."""
    packages = [f"{name} {metadata.version(name)}" for name in _PACKAGES]
    package = Path(toolchain.__file__).parent
    used = {name: sha256_of(package / name) for name in _USED_IN_TRAINING}
    return _digest({"code": code_version("network"), "used": used, "packages": packages})


@functools.cache
def scoring_code() -> str:
    """Name all that decides what scores a trained model gets."""
    return _digest({"code": code_version("network", "graph", "demand")})


def training_key(dataset: str, candidate: Candidate, seed: int) -> str:
    """Name one training: of a dataset with this sha256, a candidate and a seed."""
    return _digest(
        {
            "code": training_code(),
            "dataset": dataset,
            "candidate": asdict(candidate),
            "seed": seed,
        }
    )


def _digest(values: dict[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:24]
