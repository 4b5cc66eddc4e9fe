"""What is broken in the architectures, and what a diagnosis has to say first."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax import Array


class Fault(NamedTuple):
    """A change of some parameters.

    Attributes:
      name: in words.
      paths: of the parameters.
      change: of each of them.
      kind: of the first finding; None where there must be none.
      layer: that it names.
    """

    name: str
    paths: Sequence[str]
    change: Callable[[Array], Array]
    kind: str | None
    layer: str


def changed(model: Any, fault: Fault) -> Any:
    """The model, an NNX module or a dict, with the fault."""
    for path in fault.paths:
        *parts, last = path.split(".")
        holder = model
        for part in parts:
            if isinstance(holder, dict):
                holder = holder[part]
            else:
                holder = holder[int(part)] if part.isdigit() else getattr(holder, part)
        if isinstance(holder, dict):
            holder[last] = fault.change(holder[last])
        else:
            variable = getattr(holder, last)
            variable.set_value(fault.change(variable[...]))
    return model


def _weights(path: str, factor: float, kind: str | None = "jump") -> Fault:
    layer = path.rpartition(".")[0]
    return Fault(f"{path} x{factor:g}", [path], lambda x: x * factor, kind, layer)


def _slice(path: str, index: int, factor: float) -> Fault:
    layer = f"{path.rpartition('.')[0]}[{index}]"

    def change(x: Array) -> Array:
        return x.at[index].multiply(factor)

    return Fault(f"{path}[{index}] x{factor:g}", [path], change, "jump", layer)


def _filled(path: str, value: float, kind: str, layer: str | None = None) -> Fault:
    layer = path.rpartition(".")[0] if layer is None else layer
    return Fault(f"{path} = {value:g}", [path], lambda x: jnp.full_like(x, value), kind, layer)


def _spoilt(path: str) -> Fault:
    def change(x: Array) -> Array:
        return x.at[(0,) * x.ndim].set(jnp.nan)

    return Fault(f"NaN in {path}", [path], change, "not_finite", path.rpartition(".")[0])


def _attention(factor: float) -> Fault:
    names = [f"blocks.{i}.attention.{name}.kernel" for i in range(4) for name in ("query", "key")]
    name = f"query and key x{factor:g}"
    return Fault(name, names, lambda x: x * factor, "attention_saturated", "blocks.0.attention")


# For each architecture.
FAULTS: dict[str, list[Fault]] = {
    "pre-norm transformer": [
        _weights("blocks.2.feed.down.kernel", 1e-4),
        _weights("blocks.1.feed.up.kernel", 1e4),
        _attention(100),
    ],
    "post-norm transformer": [
        _weights("blocks.2.feed.up.kernel", 1e-4),
        _filled("head.kernel", 0, "zero_weights"),
        _attention(1000),
    ],
    "ViT": [
        _weights("blocks.1.feed.down.kernel", 1e-4),
        _filled("head.kernel", 0, "zero_weights"),
        _spoilt("patch.kernel"),
    ],
    "ResNet": [
        _weights("blocks.2.norm2.scale", 1e-4),
        _filled("blocks.1.norm1.bias", -10, "dead"),
        _weights("blocks.3.first.kernel", 1e4, None),  # the norm behind it undoes it
    ],
    "U-Net": [
        _weights("down.1.kernel", 1e-4),
        _weights("middle.kernel", 1e4),
        _filled("up.0.bias", -10, "dead"),
    ],
    "ConvNeXt": [
        _weights("blocks.2.feed.down.kernel", 1e-4),
        _filled("blocks.1.scale", 0, "zero_weights"),
        _spoilt("blocks.3.feed.up.kernel"),
    ],
    "seq2seq with attention": [
        _weights("head.kernel", 1e-4),
        _weights("attention.value.kernel", 1e4),
        _spoilt("embed.embedding"),
    ],
    "actor-critic": [
        _weights("torso.1.kernel", 1e-4),
        _filled("torso.0.bias", 10, "saturated"),
        _filled("critic.layers.2.kernel", 0, "zero_weights"),
    ],
    "VAE": [
        _filled("decoder.bias", -10, "dead"),
        _weights("out.kernel", 1e-4),
        _filled("log_variance.bias", 500, "not_finite"),
    ],
    "MLP-Mixer": [
        _weights("blocks.1.tokens.up.kernel", 1e-4),
        _weights("blocks.2.channels.down.kernel", 1e4),
        _filled("head.kernel", 0, "zero_weights"),
    ],
    "mixture of experts": [
        _weights("experts.2.up.kernel", 1e-4),
        _filled("router.kernel", 0, "zero_weights"),
        _filled("stem.bias", -10, "dead"),
    ],
    "LSTM classifier": [
        _filled("rnn.cell.hf.bias", -4, "forgetting", "rnn.cell"),
        _weights("head.kernel", 1e-4),
        _spoilt("rnn.cell.ig.kernel"),
    ],
    "GRU classifier": [
        _weights("rnn.cell.dense_h.kernel", 1e-4),
        _filled("head.kernel", 0, "zero_weights"),
        _filled("rnn.cell.dense_i.bias", -4, "forgetting", "rnn.cell"),
    ],
    "scanned and rematerialised": [
        _slice("blocks.feed.down.kernel", 2, 1e-4),
        _slice("blocks.feed.up.kernel", 1, 1e4),
        _filled("head.kernel", 0, "zero_weights"),
    ],
    "dict of arrays": [
        _weights("linear_1.w", 1e-4),
        _filled("linear_2.b", -10, "dead"),
        _spoilt("linear_0.w"),
    ],
}
