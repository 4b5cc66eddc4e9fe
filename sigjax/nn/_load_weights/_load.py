"""Weights that another framework trained."""

import dataclasses
import functools
import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from ...functional._messages import must
from ...functional._precision import computed_in
from ._layouts import parts
from ._parts import LAYOUTS, Layout, Part, Unknown

_must = functools.partial(must, of="sigjax.nn.load_weights")

M = TypeVar("M", bound=nnx.Module)

# What state is there besides weights: of random streams, and batches counted by torch.
_NO_WEIGHTS = {"nnx": "rngs", "torch": "num_batches_tracked"}


def load_weights(module: M, weights: Mapping[str, Any], *, layout: Layout) -> M:
    r"""Writes weights that another framework trained into a module of `sigjax.nn`.

    What they are called and how they are ordered ($D$ inputs, $H$ units; a kernel `[in, out]` is
    called `kernel`, its transpose `weight`):

    ================ ============================================================================
    `GRUCell`        gates r, z, n; $b_{hn}$ needs `hidden_bias=True`
    ================ ============================================================================
    here, nnx        `dense_i.kernel` `[D, 3H]`, `dense_i.bias`, `dense_h.kernel` `[H, 3H]`,
                     (`dense_h.bias`)
    linen            `ir`, `iz`, `in`: `.kernel`, `.bias`; `hr`, `hz`, `hn`: `.kernel`; `hn.bias`
    torch            `weight_ih_l0` `[3H, D]`, `weight_hh_l0`, `bias_ih_l0`, `bias_hh_l0` `[3H]`;
                     without `_l0` as well
    equinox          `weight_ih` `[3H, D]`, `weight_hh`, `bias` `[3H]`, `bias_n` `[H]`
    ================ ============================================================================

    ================ ============================================================================
    `LSTMCell`       gates i, f, g, o; all biases of a gate are summed
    ================ ============================================================================
    here, nnx        `ii`, `if_`, `ig`, `io`: `.kernel`; `hi`, `hf`, `hg`, `ho`: `.kernel`,
                     `.bias`; or `dense_i.kernel` `[D, 4H]`, `dense_h.kernel`, `dense_h.bias` of
                     `flax.nnx.OptimizedLSTMCell`
    linen            the same with `if` for `if_`, of both its cells
    torch            as for the GRU with `[4H, ...]`; `bias_ih_l0` + `bias_hh_l0`
    equinox          `weight_ih` `[4H, D]`, `weight_hh`, `bias` `[4H]`
    ================ ============================================================================

    ================ ============================================================================
    others           their names
    ================ ============================================================================
    `RNN`            linen and nnx: `cell.` and the cell's names; torch and equinox: the cell's
    `Bidirectional`  `forward_rnn.`, `backward_rnn.`; torch: suffix `_reverse` of the second
    `MLP`            numbered layers in the order of their numbers (`Dense_0`, `layers_0`,
                     `layers.0`, `0`, `fc1`), gaps allowed; normalisations apart from them, by
                     their own numbers; nnx also: the names here
    `SqueezeExcite`  two numbered layers (1x1 convolutions, too), or `squeeze` and `excite`
    `RGLRU`          linen and torch, as RecurrentGemma's code: `a_param`, `input_gate.w`,
                     `input_gate.b`, `a_gate.w`, `a_gate.b`; torch also as in Hugging Face's
                     transformers: `recurrent_param`, `input_gate_weight`, `input_gate_bias`,
                     `recurrent_gate_weight`, `recurrent_gate_bias`; here, nnx: `.kernel`, `.bias`
    `RecurrentBlock` the same with `rg_lru.` before; `linear_x`, `linear_y`, `linear_out`;
                     `conv_1d.w`, `conv_1d.b`, or `conv_1d.weight` `[H, 1, K]`, `conv_1d.bias`
    `flax.nnx`       `Linear`: `kernel` or `weight`, `bias`; `BatchNorm`, `LayerNorm`: `scale`,
                     `bias`, `mean`, `var`, in torch `weight`, `bias`, `running_mean`,
                     `running_var`
    any other        made of these: their attribute names, a dot, and the names above (`MinGRU`:
                     `dense_i`, z before h; `MultiLabelHead`: `linear`; ...)
    ================ ============================================================================

    Args:
      module: is written in place. What the other framework has no names for (LoRA's matrices, a
        stateful activation, random streams) stays as it is.
      weights: arrays by name: flat with dots or slashes between the parts of a name, or nested
        mappings; linen's variables with or without their collections; torch's `state_dict()`.
        Of an Equinox module: `{jax.tree_util.keystr(path): leaf for path, leaf in
        jax.tree_util.tree_leaves_with_path(equinox.filter(module, equinox.is_array))}`. The
        beginning that all names share is passed over. Neither torch nor Equinox is imported.
      layout: "linen", "nnx", "torch" or "equinox".

    Returns:
      `module`. Its parameters keep their dtypes, to which the weights are cast, and their
      shardings.

    Raises:
      TypeError: if `weights` is no mapping, or one of them not of real floating numbers.
      ValueError: if a weight is missing, left over, or of another shape, or the layout has no
        names for the module; then nothing is written.

    Example:
      >>> import jax, sigjax.nn
      >>> from flax import linen, nnx
      >>> theirs, x = linen.RNN(linen.LSTMCell(4)), jax.numpy.ones((1, 5, 3))
      >>> variables = theirs.init(jax.random.key(0), x)
      >>> ours = sigjax.nn.RNN(sigjax.nn.LSTMCell(3, 4, rngs=nnx.Rngs(0)))
      >>> ours = sigjax.nn.load_weights(ours, variables, layout="linen")
      >>> bool(jax.numpy.allclose(ours(x), theirs.apply(variables, x)))
      True
    """
    if layout not in LAYOUTS:
        raise ValueError(_must("layout", f"be one of {LAYOUTS}", repr(layout)))
    if not isinstance(weights, Mapping):
        raise TypeError(_must("weights", "be a mapping of names to arrays", type(weights).__name__))
    given = {}
    for name, leaf in _leaves(weights):
        name = _without_collection(name) if layout == "linen" else name
        if leaf is not None and _NO_WEIGHTS.get(layout) not in name.split("."):
            given[name] = _numbers(name, leaf)
    # The names as they are, or without what is in common to all; whichever fits best.
    reading = min(
        (
            _read(candidate, layout, given, beginning)
            for candidate in (module, _inside(module))
            for beginning in ("", _shared_beginning(given))
        ),
        key=lambda reading: reading.amiss,
    )
    if reading.amiss:
        raise ValueError(
            _must(
                "weights",
                f"be those of a {type(module).__name__} in layout '{layout}'",
                f"others: {reading.complaint}",
            )
        )
    values = [(part.variable, _value(part, reading.given)) for part in reading.parts]
    for variable, value in values:
        variable.set_value(value)
    return module


@dataclasses.dataclass(frozen=True)
class _Reading:
    """What becomes of the weights if they are those of one module, under shortened names."""

    given: dict[str, Any]
    parts: list[Part]
    amiss: int  # names
    complaint: str


def _read(module: Any, layout: Layout, weights: dict[str, Any], beginning: str) -> _Reading:
    given = {name.removeprefix(beginning): array for name, array in weights.items()}
    try:
        found = list(parts(module, layout, {name: array.shape for name, array in given.items()}))
    except Unknown as unknown:
        return _Reading(given, [], 1 + len(given), str(unknown))
    kept = [part for part in found if part.variable is not None]
    homeless = [part for part in found if part.variable is None]
    wanted = {name: shape for part in kept for name, shape in part.sources.items()}
    remedies = {name: f" ({part.remedy})" for part in homeless for name in part.sources}
    lists = {
        "missing": [beginning + name for name in wanted if name not in given],
        "left over": [
            f"{beginning}{name}{remedies.get(name, '')}" for name in given if name not in wanted
        ],
        "of another shape": [
            f"{beginning}{name} {given[name].shape}, which must be {shape}"
            for name, shape in wanted.items()
            if name in given and given[name].shape != shape
        ],
    }
    complaint = "; ".join(f"{what}: {', '.join(names)}" for what, names in lists.items() if names)
    amiss = sum(map(len, lists.values()))
    return _Reading(given, kept, amiss, complaint)


def _value(part: Part, given: dict[str, Any]) -> Array:
    old = part.variable.get_value()
    # Biases are summed in float32 at least.
    wide = computed_in(old.dtype)
    value = part.make(*(jnp.asarray(given[name], wide) for name in part.sources)).astype(old.dtype)
    if any(isinstance(array, jax.core.Tracer) for array in (old, value)):
        return value
    return jax.device_put(value, old.sharding)


def _leaves(weights: Any, beginning: str = "") -> Iterator[tuple[str, Any]]:
    """Arrays by their names, whose parts are told apart by dots."""
    if not isinstance(weights, Mapping):
        yield beginning.removeprefix("."), weights
        return
    for name, inside in weights.items():
        split = [part for part in re.split(r"[./\[\]'\"]+", str(name)) if part]
        yield from _leaves(inside, ".".join([beginning, *split]))


def _without_collection(name: str) -> str:
    collection, _, rest = name.partition(".")
    return rest if collection in ("params", "batch_stats") else name


def _numbers(name: str, leaf: Any) -> Any:
    if isinstance(leaf, nnx.Variable):
        leaf = leaf.get_value()
    if hasattr(leaf, "detach"):  # a tensor of torch, which has no NumPy dtype for bfloat16
        leaf = leaf.detach()
        leaf = leaf.float() if "bfloat16" in str(leaf.dtype) else leaf
        leaf = (leaf.cpu() if hasattr(leaf, "cpu") else leaf).numpy()
    array = leaf if isinstance(leaf, jax.Array) else np.asarray(leaf)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(
            _must("weights", "have real floating numbers", f"dtype {array.dtype.name} in '{name}'")
        )
    return array


def _shared_beginning(names: Iterable[str]) -> str:
    modules = [name.split(".")[:-1] for name in names]
    shared = itertools.takewhile(lambda level: len(set(level)) == 1, zip(*modules, strict=False))
    return "".join(f"{level[0]}." for level in shared)


def _inside(module: Any) -> Any:
    """The module, or, as long as it is made of one other module and nothing else, that one."""
    while True:
        children = [child for _, child in nnx.iter_children(module)]
        modules = [child for child in children if isinstance(child, nnx.Module)]
        if len(modules) != 1 or any(isinstance(child, nnx.Param) for child in children):
            return module
        (module,) = modules
