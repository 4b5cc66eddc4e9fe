"""What other frameworks call the weights of a module, and in which order they keep them."""

import dataclasses
from collections.abc import Iterator
from typing import Any

from flax import nnx

from .._gru import GRUCell
from .._lstm import LSTMCell
from .._mlp import MLP
from .._recurrent_block import TemporalConv
from .._rg_lru import RGLRU
from .._squeeze_excite import SqueezeExcite
from ._cells import gru, lstm
from ._numbered import numbered, numbered_network
from ._parts import Layout, Part, Shapes, Unknown, linear, norm, under
from ._recurrent_gemma import rg_lru, temporal_conv


def parts(module: Any, layout: Layout, given: Shapes, path: str = "") -> Iterator[Part]:
    """What the variables of `module` are made of, from weights whose names start with `path`."""
    match module:
        case GRUCell():
            yield from gru(module, layout, given, path)
        case LSTMCell() if layout != "nnx" or under(given, f"{path}dense_h."):
            yield from lstm(module, layout, given, path)
        case RGLRU() if layout != "nnx":
            yield from rg_lru(module, layout, given, path)
        case TemporalConv() if layout != "nnx":
            yield from temporal_conv(module, layout, given, path)
        case nnx.RNN():
            inside = path if layout in ("torch", "equinox") else f"{path}cell."
            yield from parts(module.cell, layout, given, inside)
        case nnx.Bidirectional() if layout == "torch":
            # One module there, whose weights of the second direction have a suffix.
            for rnn, suffix in ((module.forward_rnn, ""), (module.backward_rnn, "_reverse")):
                for part in parts(rnn, layout, given, path):
                    sources = {f"{name}{suffix}": s for name, s in part.sources.items()}
                    yield dataclasses.replace(part, sources=sources)
        case MLP() if not (layout == "nnx" and under(given, f"{path}first.")):
            yield from numbered_network(module, layout, given, path)
        case SqueezeExcite() if not under(given, f"{path}squeeze."):
            layers = numbered(given, path, 2, "linear layers")
            for layer, name in zip((module.squeeze, module.excite), layers, strict=True):
                yield from linear(layer, layout, given, name)
        case nnx.Linear():
            yield from linear(module, layout, given, path)
        case nnx.BatchNorm() | nnx.LayerNorm():
            yield from norm(module, layout, path)
        case _:
            yield from _others(module, layout, given, path)


def _others(module: Any, layout: Layout, given: Shapes, path: str) -> Iterator[Part]:
    """Of a module that is made of others: the same attribute names in every framework."""
    for name, child in nnx.iter_children(module):
        if isinstance(child, nnx.Module):
            yield from parts(child, layout, given, f"{path}{name}.")
        elif isinstance(child, nnx.Param | nnx.BatchStat):
            if layout != "nnx":
                raise Unknown(f"'{path}{name}' of a {type(module).__name__} has no name there")
            yield Part(child, {f"{path}{name}": child.shape})
