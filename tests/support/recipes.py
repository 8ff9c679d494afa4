"""Forecasters that between them reach every corner of the arithmetic."""

from tflite import ActivationFunctionType
from tflite_writer import Recipe

ORDINARY = {
    "lstm16": Recipe(),
    "lstm64": Recipe(hidden=(64,), steps=10, weight_scale=0.002),
    "odd sizes, five features": Recipe(hidden=(13,), features=5, steps=9),
    "stacked": Recipe(hidden=(8, 5), features=3, steps=9),
    "every step's hidden state is an output": Recipe(
        hidden=(7,), whole_sequence=True, dense=(), steps=12
    ),
    "a forecast per step": Recipe(hidden=(7,), whole_sequence=True, dense=(1,)),
    "flattened, dense with ReLU": Recipe(
        hidden=(6,), whole_sequence=True, flatten=True, dense=(5, 2), steps=7,
        activation=ActivationFunctionType.RELU,
    ),
    "three dense layers, scales per channel": Recipe(
        hidden=(12,), dense=(4, 3, 2), per_channel=True, activation=ActivationFunctionType.RELU6,
    ),
    "no dense layer": Recipe(hidden=(4,), dense=()),
    "one unit, two steps": Recipe(hidden=(1,), steps=2),
    "blocks of zeros, stacked": Recipe(hidden=(21, 12), features=3, steps=9, blocks=0.7),
    "nearly all blocks are zero": Recipe(hidden=(17,), features=2, steps=9, blocks=0.95),
    "scattered zeros": Recipe(hidden=(19,), features=5, steps=9, scattered=0.8),
}  # fmt: skip

HEADS = {
    "shares by a softmax": Recipe(hidden=(11,), dense=(7,), then=("softmax",), output_scale=0.05),
    "shares of 300, beta": Recipe(
        hidden=(5,), steps=4, dense=(300,), then=("softmax",), output_scale=0.03, beta=0.7
    ),
    "one share": Recipe(hidden=(5,), steps=4, dense=(1,), then=("softmax",)),
    "steep softmax": Recipe(
        hidden=(9,), steps=6, dense=(4,), then=("softmax",), weight_scale=0.02, output_scale=0.4
    ),
    "softmax past its cut-off": Recipe(
        hidden=(9,), steps=6, dense=(5,), then=("softmax",), weight_scale=0.1, output_scale=0.4
    ),
    "tanh and sigmoid": Recipe(
        hidden=(10,), dense=(6, 4), then=("tanh", "sigmoid"), weight_scale=0.01, output_scale=0.04
    ),
    "coarse tanh saturates": Recipe(
        hidden=(10,), steps=9, dense=(6, 5), then=("tanh", ""), weight_scale=0.05, output_scale=0.6
    ),
    "shares at every step, no bias": Recipe(
        hidden=(6,), steps=9, dense=(5, 3), whole_sequence=True, then=("sigmoid", "softmax"),
        bias=False, output_scale=0.05,
    ),
    "time first": Recipe(hidden=(7, 4), features=3, steps=9, time_major=True, dense=(2,)),
    "time first, every step": Recipe(
        hidden=(7,), steps=9, time_major=True, whole_sequence=True, dense=(2,), then=("tanh",)
    ),
    "flat input": Recipe(hidden=(6,), features=3, steps=5, flat_input=True),
    "real values at both ends": Recipe(
        hidden=(6,), steps=5, dense=(3,), input_type="float32", output_type="float32"
    ),
    "unsigned at both ends": Recipe(
        hidden=(6,), steps=5, dense=(3,), input_type="uint8", output_type="uint8"
    ),
    "many features": Recipe(hidden=(5,), features=256, steps=3, weight_scale=0.001),
}  # fmt: skip

STRESS = {
    "sums saturate Q3.12": Recipe(
        hidden=(32,), weight_scale=0.05, bias_limit=400_000, output_scale=0.3
    ),
    "recurrent sums shift left": Recipe(
        hidden=(20,), weight_scale=0.5, input_scale=0.2, output_scale=3.0
    ),
    "fine cell saturates": Recipe(
        hidden=(13,), weight_scale=0.03, cell_power=-15, bias_limit=100_000, output_scale=0.2
    ),
    "cell products saturate": Recipe(
        hidden=(13,), weight_scale=0.03, cell_power=-16, bias_limit=100_000, output_scale=0.2
    ),
    "finest cell": Recipe(
        hidden=(13,), weight_scale=0.03, cell_power=-18, bias_limit=2_000, output_scale=0.2
    ),
    "cell of scale 2^-14": Recipe(
        hidden=(13,), weight_scale=0.03, cell_power=-14, bias_limit=100_000, output_scale=0.2
    ),
    "cell of scale 2^-13": Recipe(
        hidden=(13,), weight_scale=0.03, cell_power=-13, bias_limit=100_000, output_scale=0.2
    ),
    "coarse cell is clipped": Recipe(
        hidden=(13,), weight_scale=0.03, cell_power=-11, bias_limit=100_000, output_scale=0.2
    ),
    "coarsest cell": Recipe(hidden=(13,), weight_scale=0.03, cell_power=-9, output_scale=0.2),
    "tight clip": Recipe(
        hidden=(9,), weight_scale=0.1, cell_power=-14, cell_clip=0.3, output_scale=0.2
    ),
    "no clip": Recipe(
        hidden=(9,), weight_scale=0.1, cell_power=-12, cell_clip=0.0, output_scale=0.2
    ),
    "saturated blocks": Recipe(
        hidden=(27,),
        features=9,
        weight_scale=0.05,
        bias_limit=300_000,
        output_scale=0.2,
        blocks=0.6,
    ),
    "saturated stack": Recipe(
        hidden=(10, 11), features=4, weight_scale=0.05, bias_limit=300_000, output_scale=0.2
    ),
}

ALL = {**ORDINARY, **HEADS, **STRESS}
