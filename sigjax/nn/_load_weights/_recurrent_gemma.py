"""RecurrentGemma's recurrent layers, as Google's code names them and as Hugging Face's does."""

from collections.abc import Iterator
from typing import Any

from .._rg_lru import BlockLinear
from ._parts import Layout, Part, Shapes, Unknown, under

# RGLRU: ours and Google's; Hugging Face's
_GATES = {"input_gate": "input_gate", "a_gate": "recurrent_gate"}


def rg_lru(cell: Any, layout: Layout, given: Shapes, path: str) -> Iterator[Part]:
    """Of an `RGLRU`, in linen's or torch's layout."""
    _require_names(cell, layout)
    huggingface = layout == "torch" and bool(under(given, f"{path}recurrent_param"))
    parameter = "recurrent_param" if huggingface else "a_param"
    yield Part(cell.a_param, {f"{path}{parameter}": cell.a_param.shape})
    for ours, theirs in _GATES.items():
        gate = getattr(cell, ours)
        if not isinstance(gate, BlockLinear):
            raise Unknown(
                f"'{ours}' of an RGLRU is a {type(gate).__name__}: load the weights before it is "
                "replaced"
            )
        names = ("_weight", "_bias") if huggingface else (".w", ".b")
        beginning = f"{path}{theirs if huggingface else ours}"
        for variable, end in zip((gate.kernel, gate.bias), names, strict=True):
            yield Part(variable, {f"{beginning}{end}": variable.shape})


def temporal_conv(conv: Any, layout: Layout, given: Shapes, path: str) -> Iterator[Part]:
    """Of the convolution in a `RecurrentBlock`, which is torch's `Conv1d` at Hugging Face."""
    _require_names(conv, layout)
    width, features = conv.kernel.shape
    if layout == "torch" and f"{path}weight" in given:
        shape = (features, 1, width)
        yield Part(conv.kernel, {f"{path}weight": shape}, lambda weight: weight[:, 0].T)
        yield Part(conv.bias, {f"{path}bias": (features,)})
    else:
        yield Part(conv.kernel, {f"{path}w": (width, features)})
        yield Part(conv.bias, {f"{path}b": (features,)})


def _require_names(module: Any, layout: Layout) -> None:
    if layout == "equinox":
        raise Unknown(f"a {type(module).__name__} has no names there")
