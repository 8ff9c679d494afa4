"""Read somebody else's Keras file as the user's command does: in a process of its own.

`python -m toolchain.network.keras_shapes FILE OUT` is that process. HDF5's library checks little of
what it follows, and a damaged file may end it.
"""

from __future__ import annotations

import pickle
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from toolchain.errors import ModelError
from toolchain.network.child import model_error, run_child
from toolchain.network.float_network import FloatNetwork
from toolchain.network.keras_config import network_of
from toolchain.network.keras_file import read_chain_of, read_network

TIME_LIMIT_S = 120.0

READER = (sys.executable, "-P", "-X", "faulthandler", "-m", "toolchain.network.keras_shapes")


def read_shapes(
    path: Path, *, reader: Sequence[str] = READER, time_limit_s: float = TIME_LIMIT_S
) -> FloatNetwork:
    """Read a float network; the weights of a SavedModel are left at 0, so no TensorFlow is needed.

    Raises:
        ModelError: damaged, or a network that cannot be deployed, with the layer and what to do.
    """
    if path.is_dir():
        return network_of(read_chain_of(path), None)
    with tempfile.TemporaryDirectory(prefix="shelfcast-") as folder:
        out = Path(folder, "network")
        ending = run_child([*reader, str(path), str(out)], time_limit_s=time_limit_s)
        if ending.how:
            raise model_error(ending) or ModelError(
                f"{path.name}: damaged: what reads it ended with {ending.how}. Save or copy it "
                "again."
            )
        network: FloatNetwork = pickle.loads(out.read_bytes())  # noqa: S301  # ours, just written
        return network


def main(model: str, out: str) -> None:
    """Write what `model` holds to the file `out`."""
    Path(out).write_bytes(pickle.dumps(read_network(Path(model))))


if __name__ == "__main__":
    main(*sys.argv[1:])
