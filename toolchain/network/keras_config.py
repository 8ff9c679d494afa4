"""Read the configuration of a Keras 2 or 3 model: a chain of layers, or why it is not one.

Nothing of a configuration is ever run: it is JSON, and what is not known by name is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from toolchain.errors import ModelError
from toolchain.network.float_network import (
    ActivationLayer,
    AffineLayer,
    DenseLayer,
    FloatNetwork,
    Layer,
    LstmLayer,
    ReshapeLayer,
    folded,
)

Array = NDArray[np.float32]
ReadWeights = Callable[["Spec"], Sequence[Array]]

WEIGHTS: dict[str, tuple[str, ...]] = {
    "LSTM": ("kernel", "recurrent_kernel", "bias"),
    "Dense": ("kernel", "bias"),
    "Normalization": ("mean", "variance", "count"),
    "BatchNormalization": ("gamma", "beta", "moving_mean", "moving_variance"),
}
"""What each kind of layer keeps, in the order in which Keras writes it."""

# They do nothing once a network is trained.
_IDLE = frozenset(
    ("Dropout", "SpatialDropout1D", "GaussianNoise", "GaussianDropout", "AlphaDropout",
     "ActivityRegularization")
)  # fmt: skip
_OTHERS = frozenset(
    ("InputLayer", "Activation", "ReLU", "Softmax", "Flatten", "Reshape", "TimeDistributed",
     "Rescaling")
)  # fmt: skip
_ACTIVATIONS = ("linear", "relu", "relu6", "tanh", "sigmoid", "softmax")
_REFUSED = {
    "Bidirectional": "it reads the window from both ends, and a device that is fed day by day "
    "knows only one; TFLite Micro has no such operator. Train an LSTM in its place, with more "
    "units",
    "GRU": "there is no integer GRU in TFLite Micro to be equal to. Train an LSTM in its place",
    "SimpleRNN": "there is no integer SimpleRNN of this form in TFLite Micro to be equal to. "
    "Train an LSTM in its place",
    "Lambda": "it holds Python code, which is never run. Write it with layers; the last step of a "
    "sequence is LSTM(return_sequences=False)",
    "Masking": "with a mask an LSTM no longer converts to one operator. Leave it out, and fill "
    "missing days before the network",
    "GetItem": "a slice. The last step of a sequence is LSTM(return_sequences=False)",
    "SlicingOpLambda": "a slice. The last step of a sequence is LSTM(return_sequences=False)",
    "TFOpLambda": "an operation outside of layers. Write it with layers",
    "RepeatVector": "LSTM layers behind it read no window. Forecast several days with a Dense "
    "layer of as many units",
}
_SUPPORTED = ", ".join(sorted({*WEIGHTS, *_IDLE, *_OTHERS}))


@dataclass(frozen=True)
class Spec:
    """One layer, as the file describes it."""

    kind: str
    name: str
    config: Mapping[str, Any]
    inner: bool = False
    """It was inside a TimeDistributed."""


@dataclass(frozen=True)
class Chain:
    """The layers of a model in the order in which values pass them."""

    file: str
    input_shape: tuple[int | None, ...]
    """As the file says it, the batch with it."""
    specs: tuple[Spec, ...]

    @property
    def time_major(self) -> bool:
        """Whether the first axis of its input is time."""
        return any(spec.config.get("time_major") for spec in self.specs if spec.kind == "LSTM")

    @property
    def batch(self) -> int | None:
        """The number of windows it insists on."""
        return self.input_shape[1 if self.time_major else 0]


def read_chain(model: Any, name: str) -> Chain:
    """Take a model's configuration apart.

    Raises:
        ModelError: names the layer, why it cannot be deployed, and what to do instead.
    """
    try:
        return _read_chain(model, name)
    except (KeyError, TypeError, AttributeError, IndexError, ValueError) as cause:
        raise ModelError(
            f"{name}: its configuration is damaged ({type(cause).__name__}: {cause}). Save the "
            "model again."
        ) from cause


def _read_chain(model: Any, name: str) -> Chain:
    kind = model["class_name"]
    if kind not in ("Sequential", "Functional", "Model"):
        raise ModelError(
            f"{name}: is a {kind}, a class whose code is not in the file. Rebuild the network as "
            "a Sequential model, copy the weights with set_weights, and save that."
        )
    config = model["config"]
    entries = config if isinstance(config, list) else config["layers"]
    if kind != "Sequential":
        entries = _in_a_row(config, name)
    specs = [_spec(entry, name) for entry in entries]
    shape = next(
        (
            tuple(_untupled(spec.config[key]))
            for spec in specs[:1]
            for key in ("batch_shape", "batch_input_shape")
            if spec.config.get(key) is not None
        ),
        None,
    ) or _built_shape(model, config)
    if shape is None:
        raise ModelError(
            f"{name}: the shape of its input is not in the file. Begin the model with "
            "Input((steps, features)) and save it again."
        )
    _refuse_foreign_modules(model, name)
    return Chain(name, shape, tuple(spec for spec in specs if spec.kind != "InputLayer"))


def _spec(entry: Mapping[str, Any], file: str) -> Spec:
    kind, config = str(entry["class_name"]), entry["config"]
    name = str(config.get("name", entry.get("name", kind.lower())))
    if kind == "TimeDistributed":
        inner = config["layer"]
        if inner["class_name"] != "Dense":
            raise ModelError(
                f'{file}: layer "{name}" is TimeDistributed({inner["class_name"]}); '
                "TimeDistributed(Dense) is supported."
            )
        return Spec("Dense", name, inner["config"], inner=True)
    if kind in (*WEIGHTS, *_IDLE, *_OTHERS):
        return Spec(kind, name, config)
    why = _REFUSED.get(kind)
    if why is not None:
        raise ModelError(f'{file}: layer "{name}" is {kind}: {why}.')
    raise ModelError(
        f'{file}: layer "{name}" is {kind}, which is not supported. Supported: {_SUPPORTED}. '
        "Rebuild the network from these, and save that."
    )


def _in_a_row(config: Mapping[str, Any], file: str) -> list[Mapping[str, Any]]:
    """Order the layers of a functional model from its input to its output."""
    for words, key in (("inputs", "input_layers"), ("outputs", "output_layers")):
        ends = _untupled(config[key])
        if ends and isinstance(ends[0], list) and len(ends) != 1:
            raise ModelError(
                f"{file}: has {len(ends)} {words}; one is supported. "
                "Several forecasts are one Dense layer of as many units."
            )
    layers = {str(entry["name"]): entry for entry in config["layers"]}
    after: dict[str, str] = {}
    for name, entry in layers.items():
        _spec(entry, file)  # an unknown layer is named before the way it is connected
        if len(_untupled(entry["inbound_nodes"])) > 1:
            raise ModelError(f'{file}: layer "{name}" is used twice; a chain of layers is needed.')
        sources = _sources(_untupled(entry["inbound_nodes"]), layers)
        if len(sources) > 1:
            raise ModelError(
                f'{file}: layer "{name}" reads {" and ".join(sources)}; a chain of layers, each '
                "reading the one before it, is needed."
            )
        for source in sources:
            if source in after:
                raise ModelError(
                    f'{file}: layer "{source}" is read by "{after[source]}" and "{name}"; a chain '
                    "of layers, each reading the one before it, is needed."
                )
            after[source] = name
    ends = _untupled(config["input_layers"])
    place: str | None = str(ends[0][0] if isinstance(ends[0], list) else ends[0])
    ordered: list[Mapping[str, Any]] = []
    while place is not None and len(ordered) <= len(layers):
        ordered.append(layers[place])
        place = after.get(place)
    return ordered


def _sources(nodes: Any, layers: Mapping[str, Any]) -> list[str]:
    """Find the layers that a node reads, in the words of Keras 2 and of Keras 3."""
    if isinstance(nodes, Mapping):
        history = nodes.get("keras_history")
        if history is not None:
            return [str(history[0])]
        return [name for value in nodes.values() for name in _sources(value, layers)]
    if isinstance(nodes, list):
        if len(nodes) >= 3 and isinstance(nodes[0], str) and isinstance(nodes[1], int):
            extra = _sources(nodes[3], layers) if len(nodes) > 3 else []
            return [nodes[0], *extra]
        return [name for value in nodes for name in _sources(value, layers)]
    return []


def _built_shape(model: Mapping[str, Any], config: Any) -> tuple[int | None, ...] | None:
    said = model.get("build_config") or {}
    shape = said.get("input_shape")
    if shape is None and isinstance(config, Mapping):
        shape = config.get("build_input_shape")
    return None if shape is None else tuple(_untupled(shape))


def _untupled(value: Any) -> Any:
    """Undo how a SavedModel writes tuples in JSON."""
    if isinstance(value, Mapping) and value.get("class_name") in ("__tuple__", "TensorShape"):
        value = value["items"]
    if isinstance(value, list | tuple):
        return [_untupled(item) for item in value]
    return value


def _refuse_foreign_modules(value: Any, file: str) -> None:
    """Refuse objects of other modules than Keras's own: reading them would import those."""
    if isinstance(value, Mapping):
        module = value.get("module")
        if module is not None and str(module).split(".")[0] not in ("keras", "tf_keras"):
            raise ModelError(
                f"{file}: needs {module}.{value.get('class_name', '')}, code that is not Keras's "
                "own and is never run. Save the network with Keras's layers and functions alone."
            )
        for key, item in value.items():
            if key != "compile_config":  # of no use for forecasting, and never read
                _refuse_foreign_modules(item, file)
    elif isinstance(value, list | tuple):
        for item in value:
            _refuse_foreign_modules(item, file)


def network_of(chain: Chain, weights: ReadWeights | None) -> FloatNetwork:
    """Put a chain and its weights together, normalizations folded into the layers after them.

    Without `weights` all are 0: a network to size.

    Raises:
        ModelError: names the layer, why it cannot be deployed, and what to do instead.
    """
    steps, features = _window(chain)
    layers: list[Layer] = []
    size, sequence = features, True  # values of a step, and whether there still are steps
    for place, spec in enumerate(chain.specs):
        if spec.kind in _IDLE:
            continue
        if spec.kind == "Reshape" and not layers and place == 0 and len(chain.input_shape) == 2:
            continue  # what gives a flat input its steps is `_window`'s
        layer = _layer(spec, chain, weights, size, 2 if sequence else 1)
        if isinstance(layer, LstmLayer):
            if not sequence or any(isinstance(it, DenseLayer | ReshapeLayer) for it in layers):
                raise ModelError(
                    f'{chain.file}: layer "{spec.name}", an LSTM, does not read the window or an '
                    "LSTM; LSTM layers come first."
                )
            size, sequence = layer.hidden_size, layer.whole_sequence
        elif isinstance(layer, DenseLayer):
            size = layer.kernel.shape[1]
        elif isinstance(layer, ReshapeLayer):
            total = (steps or 0) * size if sequence else size
            if steps is None and sequence:
                raise ModelError(
                    f'{chain.file}: layer "{spec.name}" gives a sequence of any length another '
                    "shape. Begin the model with Input((steps, features))."
                )
            known = int(np.prod([side for side in layer.shape if side > 0], dtype=np.int64))
            if not layer.shape:
                layer = ReshapeLayer(layer.name, (total,))
            elif -1 in layer.shape:
                layer = ReshapeLayer(
                    layer.name, tuple(total // known if it < 0 else it for it in layer.shape)
                )
            size, sequence = layer.shape[-1], False
        layers.append(layer)
    if not any(isinstance(layer, LstmLayer) for layer in layers):
        raise ModelError(f"{chain.file}: has no LSTM layer; a forecaster begins with one.")
    return folded(FloatNetwork(steps, features, tuple(layers)), chain.file)


def _window(chain: Chain) -> tuple[int | None, int]:
    shape = chain.input_shape
    inner: Sequence[Any] = shape[1:]
    if chain.time_major and len(shape) == 3:
        inner = (shape[0], shape[2])
    if len(inner) == 1 and chain.specs and chain.specs[0].kind == "Reshape":
        target = _untupled(chain.specs[0].config["target_shape"])
        inner = [inner[0] // max(1, target[1 - at]) if it == -1 else it
                 for at, it in enumerate(target)] if len(target) == 2 else target  # fmt: skip
    if len(inner) != 2 or inner[1] is None:
        raise ModelError(
            f"{chain.file}: its input has shape {_shape(shape)}; (batch, steps, features) is "
            "needed. Begin the model with Input((steps, features))."
        )
    return (None if inner[0] is None else int(inner[0])), int(inner[1])


def _layer(
    spec: Spec, chain: Chain, weights: ReadWeights | None, size: int, last_axis: int
) -> Layer:
    if spec.kind == "LSTM":
        return _lstm(spec, chain, weights, size)
    if spec.kind == "Dense":
        units = int(spec.config["units"])
        kernel, *bias = _numbers(
            spec, chain, weights,
            [(size, units), *([(units,)] if spec.config.get("use_bias", True) else [])],
        )  # fmt: skip
        activation = _activation(spec, chain, spec.config.get("activation"))
        return DenseLayer(
            spec.name, kernel, bias[0] if bias else np.zeros(units, np.float32), activation
        )
    if spec.kind == "Activation":
        return ActivationLayer(spec.name, _activation(spec, chain, spec.config["activation"]))
    if spec.kind == "ReLU":
        top = spec.config.get("max_value")
        if (
            top not in (None, 6)
            or spec.config.get("negative_slope")
            or spec.config.get("threshold")
        ):
            raise _refusal(spec, chain, f"with max_value {top}", "0 to 6, or from 0 on, is")
        return ActivationLayer(spec.name, "relu" if top is None else "relu6")
    if spec.kind == "Softmax":
        if spec.config.get("axis", -1) != -1:
            raise _refusal(spec, chain, f"over axis {spec.config['axis']}", "the last axis is")
        return ActivationLayer(spec.name, "softmax")
    if spec.kind == "Flatten":
        return ReshapeLayer(spec.name, ())
    if spec.kind == "Reshape":
        return ReshapeLayer(spec.name, tuple(map(int, _untupled(spec.config["target_shape"]))))
    return _affine(spec, chain, weights, size, last_axis)


def _lstm(spec: Spec, chain: Chain, weights: ReadWeights | None, size: int) -> LstmLayer:
    config = spec.config
    for key, usual in (("activation", "tanh"), ("recurrent_activation", "sigmoid")):
        if config.get(key, usual) != usual:
            raise _refusal(spec, chain, f"with {key} {_named(config[key])}", f"{usual} is")
    for key in ("go_backwards", "return_state"):
        if config.get(key):
            raise _refusal(spec, chain, f"with {key}=True", "False is")
    lstms = [it.config for it in chain.specs if it.kind == "LSTM"]
    if chain.time_major and (
        not all(it.get("time_major") for it in lstms) or lstms[-1].get("return_sequences")
    ):
        raise _refusal(
            spec, chain, "in a network with time_major",
            "all LSTM layers with time_major and the last with return_sequences=False are",
        )  # fmt: skip
    units = int(config["units"])
    kernel, recurrent, *bias = _numbers(
        spec, chain, weights,
        [(size, 4 * units), (units, 4 * units),
         *([(4 * units,)] if config.get("use_bias", True) else [])],
    )  # fmt: skip
    return LstmLayer(
        spec.name, kernel, recurrent, bias[0] if bias else np.zeros(4 * units, np.float32),
        whole_sequence=bool(config.get("return_sequences")),
    )  # fmt: skip


def _affine(
    spec: Spec, chain: Chain, weights: ReadWeights | None, size: int, last_axis: int
) -> AffineLayer:
    """Normalization, BatchNormalization and Rescaling: `scale * x + offset`."""
    config = spec.config
    if spec.kind == "Rescaling":
        scale, offset = (
            np.atleast_1d(np.asarray(config[key], np.float32)) for key in ("scale", "offset")
        )
        return AffineLayer(spec.name, scale, offset)
    axes = _untupled(config.get("axis", -1))
    axes = axes if isinstance(axes, list) else [axes]
    if any(axis not in (-1, last_axis) for axis in axes) or config.get("invert"):
        raise _refusal(spec, chain, f"over axis {axes}", "the last axis, not inverted, is")
    if spec.kind == "Normalization":
        if config.get("mean") is not None:
            mean, variance = (
                np.asarray(config[key], np.float32).reshape(-1) for key in ("mean", "variance")
            )
        else:
            mean, variance = _numbers(spec, chain, weights, [(size,), (size,)])
        deviation = np.maximum(np.sqrt(variance), np.float32(1e-7))
        return AffineLayer(spec.name, 1 / deviation, -mean / deviation)
    wanted = [
        key for key, name in (("scale", "gamma"), ("center", "beta")) if config.get(key, True)
    ]
    numbers = _numbers(spec, chain, weights, [(size,)] * (len(wanted) + 2))
    named = dict(zip([*wanted, "mean", "variance"], numbers, strict=True))
    spread = np.sqrt(named["variance"] + np.float32(config.get("epsilon", 1e-3)))
    factor = np.asarray(named.get("scale", 1) / spread, np.float32)
    center = named.get("center", np.zeros(size, np.float32))
    return AffineLayer(spec.name, factor, center - named["mean"] * factor)


def _numbers(
    spec: Spec, chain: Chain, weights: ReadWeights | None, shapes: Sequence[tuple[int, ...]]
) -> list[Array]:
    """Read a layer's weights and refuse what is not of these shapes, or not finite."""
    if weights is None:
        return [np.zeros(shape, np.float32) for shape in shapes]
    found = list(weights(spec))[: len(shapes)]
    if [array.shape for array in found] != list(shapes):
        raise ModelError(
            f'{chain.file}: layer "{spec.name}" has weights of shapes '
            f"{', '.join(str(array.shape) for array in found) or 'none'}; "
            f"{', '.join(map(str, shapes))} are expected. Save the model again."
        )
    for array in found:
        if not np.isfinite(array).all():
            raise ModelError(
                f'{chain.file}: layer "{spec.name}" has weights that are NaN or infinite: its '
                "training diverged."
            )
    return [np.asarray(array, np.float32) for array in found]


def _activation(spec: Spec, chain: Chain, activation: Any) -> Any:
    if activation is None:
        return "linear"
    if activation not in _ACTIVATIONS:
        raise _refusal(
            spec, chain, f"with activation {_named(activation)}", f"{', '.join(_ACTIVATIONS)} are"
        )
    return activation


def _named(value: Any) -> str:
    return str(value.get("config", value) if isinstance(value, Mapping) else value)


def _refusal(spec: Spec, chain: Chain, what: str, instead: str) -> ModelError:
    return ModelError(
        f'{chain.file}: layer "{spec.name}" is {spec.kind} {what}; {instead} supported. Train '
        "it so."
    )


def _shape(shape: Sequence[int | None]) -> str:
    return f"({', '.join('any' if side is None else str(side) for side in shape)})"
