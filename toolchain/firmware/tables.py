"""The table behind sigmoid and tanh, in the forms that kernels read.

All of them hold the same knots, sigmoid(k / 24) in Q0.16, of `fixed_point.sigmoid_table`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from toolchain.firmware.kernel import Table
from toolchain.graph.fixed_point import sigmoid_table


def activation_table(form: Table) -> NDArray[np.int64]:
    """Return what `activation_table` holds.

    `half`: k = 0..255, as uint16. `positive`: the same less 32,768, as int16, which is what sigmoid
    and tanh of a magnitude have in common. `signed`: k = -256..257 less 32,768, as int16, so that
    no argument needs its magnitude taken: knot k is entry k + 256, and the last two are the same.
    `negated`: those times -1.
    """
    half = sigmoid_table()
    if form == "half":
        return half
    if form == "positive":
        return half - 32_768
    above = np.concatenate([half, half[-1:], half[-1:]])
    signed = np.concatenate([65_536 - above[256:0:-1], above]) - 32_768
    return -signed if form == "negated" else signed
