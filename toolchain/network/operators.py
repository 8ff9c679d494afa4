"""Look at the operators of a converted model, without TensorFlow."""

from __future__ import annotations

from typing import Any

from toolchain.errors import ConversionError

ALLOWED = frozenset({"UNIDIRECTIONAL_SEQUENCE_LSTM", "FULLY_CONNECTED", "STRIDED_SLICE", "RESHAPE"})

_WAYS_OUT = {
    "WHILE": "The LSTM was not fused: use tf_keras (Keras 2) LSTM layers with their default "
    "activations, and no dropout, mask or unroll.",
    "QUANTIZE": "The model's inputs or outputs are not int8: convert with "
    "inference_input_type and inference_output_type int8.",
}


def operator_names(model: bytes) -> tuple[str, ...]:
    """Name the operators of a .tflite's first subgraph, in order."""
    import tflite

    root = tflite.Model.GetRootAs(model, 0)
    graph: Any = root.Subgraphs(0)
    names = _names(tflite.BuiltinOperator)
    found = []
    for index in range(graph.OperatorsLength()):
        code = root.OperatorCodes(graph.Operators(index).OpcodeIndex())
        # Old files hold the operator in 8 bits, newer ones in 32: the larger one counts.
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        found.append(names.get(number, f"operator code {number}"))
    return tuple(found)


def check_operators(model: bytes, name: str) -> tuple[str, ...]:
    """Return a .tflite's operators, if the integer engine has them all and they are int8.

    Raises:
        ConversionError: names the first operator, or the tensor type, that cannot be deployed.
    """
    import tflite

    if model[4:8] != b"TFL3":
        raise ConversionError(
            f"{name}: not a .tflite: {len(model):,} bytes without the mark TFL3 at byte 4. "
            "Convert again."
        )
    found = operator_names(model)
    strangers = [item for item in enumerate(found) if item[1] not in ALLOWED]
    if strangers:
        # A WHILE brings a dozen others along: name the one that says what to do.
        index, operator = min(strangers, key=lambda item: (item[1] not in _WAYS_OUT, item[0]))
        way_out = _WAYS_OUT.get(operator, "Leave out the layer that it comes from.")
        raise ConversionError(
            f"{name}: operator {index} is {operator}; only {', '.join(sorted(ALLOWED))} can be "
            f"deployed. {way_out}"
        )
    graph = tflite.Model.GetRootAs(model, 0).Subgraphs(0)
    types = _names(tflite.TensorType)
    for words, indices in (("input", graph.InputsAsNumpy()), ("output", graph.OutputsAsNumpy())):
        for index in indices:
            kind = types[graph.Tensors(index).Type()]
            if kind != "INT8":
                raise ConversionError(
                    f"{name}: its {words} is {kind}; only INT8 can be deployed. Convert with full "
                    "integer quantization, inputs and outputs included."
                )
    return found


def _names(enum: type) -> dict[int, str]:
    """Turn one of the schema's enums into names by number."""
    return {number: name for name, number in vars(enum).items() if not name.startswith("_")}
