"""The cells that are compared."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax.numpy as jnp
from flax import nnx

import sigjax.nn as snn

from ._training import Runner


class Contestant(NamedTuple):
    """A library's cell in a dtype.

    Attributes:
      runner: what runs the cell over a sequence.
      cells: the cell's classes by name.
      dtype: of the matrix products; Flax's gates follow.
    """

    runner: Runner
    cells: dict[str, Any]
    dtype: Any

    def make(self, name: str, **options: Any) -> Callable[..., nnx.RNNCellBase]:
        """A function of in_features, hidden_features and rngs."""
        return functools.partial(self.cells[name], dtype=self.dtype, **options)


def _recomputed(cell: Any) -> Any:
    """A class of cells that keep their state alone for the backward pass, and compute again.

    The numbers are the same to the last bit. XLA's loops on CPUs turn a whole stack of bfloat16
    numbers into float32 and back at each step that adds to it, so what Flax's cells keep of a
    thousand steps takes them ten times as long as the steps.
    """
    return type(cell.__name__, (cell,), {"__call__": nnx.remat(cell.__call__)})


_SIGJAX = {"GRU": snn.GRUCell, "LSTM": snn.LSTMCell}
_FLAX = {"GRU": nnx.GRUCell, "LSTM": nnx.LSTMCell}
_FLAX_NARROW = {name: _recomputed(cell) for name, cell in _FLAX.items()}

CONTESTANTS = {
    "float32": Contestant(nnx.RNN, _FLAX, jnp.float32),
    "flax bfloat16": Contestant(nnx.RNN, _FLAX_NARROW, jnp.bfloat16),
    "sigjax bfloat16": Contestant(snn.RNN, _SIGJAX, jnp.bfloat16),
}


def with_long_memory(cell: Any, name: str, max_time: float, rngs: nnx.Rngs) -> Any:
    """Gives a cell of either library the biases of `initializers.chrono`."""
    inputs = cell.in_features
    chrono = _SIGJAX[name](inputs, cell.hidden_features, max_time=max_time, rngs=rngs)
    if name == "GRU":
        cell.dense_i.bias[...] = chrono.dense_i.bias[...]
    else:
        cell.hf.bias[...], cell.hi.bias[...] = chrono.hf.bias[...], chrono.hi.bias[...]
    return cell
