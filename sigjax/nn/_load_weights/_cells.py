"""The gates of recurrent cells: each by itself, side by side, or one above the other."""

import re
from collections.abc import Iterator
from typing import Any

import jax.numpy as jnp
from flax import nnx
from jax import Array

from ._parts import Layout, Part, Shape, Shapes, Unknown, linear, under

_NO_HIDDEN_BIAS = (
    "it holds b_hn, the bias inside the reset gate, for which a GRUCell has a place with "
    "hidden_bias=True only"
)


def gru(cell: Any, layout: Layout, given: Shapes, path: str) -> Iterator[Part]:
    """Gates r, z, n of a `GRUCell`."""
    _require_linear(cell, "dense_i", "dense_h")
    from_input, from_state = cell.dense_i, cell.dense_h
    features, hidden = cell.in_features, cell.hidden_features
    candidate: dict[str, Shape]
    if layout == "nnx":
        yield from linear(from_input, layout, given, f"{path}dense_i.")
        yield from linear(from_state, layout, given, f"{path}dense_h.")
        return
    if layout == "linen":

        def of_gates(side: str, leaf: str, *shape: int) -> dict[str, Shape]:
            return {f"{path}{side}{gate}.{leaf}": shape for gate in "rzn"}

        yield Part(from_input.kernel, of_gates("i", "kernel", features, hidden), _side_by_side)
        yield Part(from_input.bias, of_gates("i", "bias", hidden), _side_by_side)
        yield Part(from_state.kernel, of_gates("h", "kernel", hidden, hidden), _side_by_side)
        candidate = {f"{path}hn.bias": (hidden,)}
    else:
        weight_ih, weight_hh, bias_ih, bias_hh = _names(layout, given, path)
        yield Part(from_input.kernel, {weight_ih: (3 * hidden, features)}, jnp.transpose)
        yield Part(from_input.bias, {bias_ih: (3 * hidden,)})
        yield Part(from_state.kernel, {weight_hh: (3 * hidden, hidden)}, jnp.transpose)
        candidate = {bias_hh: (3 * hidden if layout == "torch" else hidden,)}

    def of_all_gates(bias: Array) -> Array:
        return jnp.pad(bias, (3 * hidden - len(bias), 0))

    yield Part(from_state.bias, candidate, of_all_gates, remedy=_NO_HIDDEN_BIAS)


def lstm(cell: Any, layout: Layout, given: Shapes, path: str) -> Iterator[Part]:
    """Gates i, f, g, o of an `LSTMCell`, in any layout but that of `flax.nnx.LSTMCell`, its own."""
    features, hidden = cell.in_features, cell.hidden_features
    weight_ih, weight_hh, *biases = _names(layout, given, path)
    if layout == "equinox":
        biases = biases[:1]
    for index, gate in enumerate("ifgo"):
        names = ("if_" if gate == "f" else f"i{gate}", f"h{gate}")
        _require_linear(cell, *names)
        from_input, from_state = (getattr(cell, name) for name in names)
        if layout == "linen":
            yield from linear(from_input, layout, given, f"{path}i{gate}.")
            yield from linear(from_state, layout, given, f"{path}h{gate}.")
            continue
        rows = slice(index * hidden, (index + 1) * hidden)

        def of_gate(weight: Array, rows: slice = rows) -> Array:
            return weight[:, rows] if layout == "nnx" else weight[rows].T

        def summed(*biases: Array, rows: slice = rows) -> Array:
            return sum((bias[rows] for bias in biases[1:]), biases[0][rows])

        wide, deep = (features, 4 * hidden), (hidden, 4 * hidden)
        order = 1 if layout == "nnx" else -1
        yield Part(from_input.kernel, {weight_ih: wide[::order]}, of_gate)
        yield Part(from_state.kernel, {weight_hh: deep[::order]}, of_gate)
        yield Part(from_state.bias, dict.fromkeys(biases, (4 * hidden,)), summed)


def _names(layout: Layout, given: Shapes, path: str) -> list[str]:
    """Of both kernels and of the bias or the biases, all gates in one array."""
    if layout == "nnx":  # OptimizedLSTMCell
        return [f"{path}{name}" for name in ("dense_i.kernel", "dense_h.kernel", "dense_h.bias")]
    if layout == "equinox":
        return [f"{path}{name}" for name in ("weight_ih", "weight_hh", "bias", "bias_n")]
    # torch.nn.GRU numbers its layers, torch.nn.GRUCell does not.
    found = (re.search(r"_l\d+(?=$|_reverse$)", name) for name in under(given, path))
    ends = {match[0] for match in found if match}
    end = ends.pop() if len(ends) == 1 else ""
    return [f"{path}{name}{end}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]


def _require_linear(cell: Any, *names: str) -> None:
    for name in names:
        layer = getattr(cell, name)
        if not isinstance(layer, nnx.Linear):
            raise Unknown(
                f"'{name}' of a {type(cell).__name__} is a {type(layer).__name__}, not a Linear: "
                "load the weights before it is replaced"
            )


def _side_by_side(*weights: Array) -> Array:
    return jnp.concatenate(weights, axis=-1)
