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
      dtype: of the matrix products; Flax's gates and state follow.
    """

    runner: Runner
    cells: dict[str, Any]
    dtype: Any

    def make(self, name: str, **options: Any) -> Callable[..., nnx.RNNCellBase]:
        """A function of in_features, hidden_features and rngs."""
        return functools.partial(self.cells[name], dtype=self.dtype, **options)


_SIGJAX = {"GRU": snn.GRUCell, "LSTM": snn.LSTMCell}
_FLAX = {"GRU": nnx.GRUCell, "LSTM": nnx.LSTMCell}

CONTESTANTS = {
    "float32": Contestant(nnx.RNN, _FLAX, jnp.float32),
    "flax bfloat16": Contestant(nnx.RNN, _FLAX, jnp.bfloat16),
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
