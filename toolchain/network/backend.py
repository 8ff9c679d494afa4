"""Import TensorFlow and Keras 2, quiet and deterministic, for all modules of this room.

The first import takes seconds, so modules of this room import this one inside functions.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from collections.abc import Iterator

# Read by TensorFlow's C++ when it is loaded: too late afterwards. oneDNN chooses its kernels, and
# with them the order of its sums, by the processor it finds; a GPU would have its own.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Drop warnings, and what C++ writes to standard error before its log level counts.

    Standard error is closed by descriptor, because C++ knows no `sys.stderr`. Errors still arrive:
    as exceptions.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


with quiet():
    import tensorflow as tf
    import tf_keras as keras

tf.get_logger().setLevel("ERROR")
# One thread: sums are then added in one order whatever the machine, and these networks are too
# small to gain from more.
with contextlib.suppress(RuntimeError):  # a program that already uses TensorFlow has its own
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)

__all__ = ["keras", "quiet", "tf"]
