"""A sigmoid gate behind attention."""

import functools
import inspect
from collections.abc import Callable
from typing import Any, Unpack

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.nn.initializers import Initializer
from jax.typing import ArrayLike

from ..functional._messages import must
from ..functional._precision import computed_in
from ..functional._sigmoid import SIGMOID
from ..initializers import prior_bias
from ._attention import Attention, AttentionOptions, Projected
from ._defaults import ZEROS

_must = functools.partial(must, of="sigjax.nn.GatedAttention")

AttentionFunction = Callable[..., Array]


class GatedAttention(Attention):
    r"""Multi-head attention $Y$ behind a gate: $W_O\,(Y \odot \sigma(X W_g + b_g))$.

    The gate is a nonlinearity between the values' product and the outputs', and lets a head give
    nothing where no key is worth attending to, so that none need serve as a sink. Arguments,
    parameters, cache and calls are those of `flax.nnx.MultiHeadAttention`; the gate is the layer
    `gate`.

    Args:
      num_heads, in_features, qkv_features, out_features, num_kv_heads, in_kv_features: as there.
      elementwise: whether each feature of each head has a gate of its own, or each head one.
      opening: of all gates at first, in (0, 1). The bias is its logit, and the kernel starts at
        0, so that every input finds the gates as far open.
      gate_kernel_init: another start of the kernel; the opening is then that of an input of 0.
      attention_fn: what is gated: Flax's `dot_product_attention` unless given, or any function
        that is called as this or as `jax.nn.dot_product_attention` is,
        `dot_product_sigmoid_attention` among them. Of Flax's arguments it is given those that it
        has parameters for.
      rngs: for the parameters, and for dropout.
      options: the other arguments of `flax.nnx.MultiHeadAttention`. `use_bias` is also the
        gate's. Gates are float32 at least.

    Raises:
      ValueError: for dimensions that are not divided as they should be, an opening that is not
        strictly between 0 and 1, or one other than 1/2 without biases.

    Example:
      >>> import jax
      >>> from flax import nnx
      >>> layer = GatedAttention(2, 8, opening=0.9, rngs=nnx.Rngs(0))
      >>> x = jax.random.normal(jax.random.key(0), (3, 5, 8))
      >>> y, gates, weights = layer(x, is_causal=True, return_gates=True, return_attention=True)
      >>> y.shape, gates.shape, weights.shape
      ((3, 5, 8), (3, 5, 2), (3, 2, 5, 5))
      >>> print(f"{gates.min():.1f}")
      0.9

    References:
      Qiu et al. 2025, Gated Attention for Large Language Models (arXiv:2505.06708).
    """

    def __init__(
        self,
        num_heads: int,
        in_features: int,
        qkv_features: int | None = None,
        out_features: int | None = None,
        num_kv_heads: int | None = None,
        in_kv_features: int | None = None,
        *,
        elementwise: bool = False,
        opening: float = 0.5,
        gate_kernel_init: Initializer = ZEROS,
        attention_fn: AttentionFunction = nnx.dot_product_attention,
        rngs: nnx.Rngs,
        **options: Unpack[AttentionOptions],
    ):
        super().__init__(
            num_heads, in_features, qkv_features, out_features, num_kv_heads, in_kv_features,
            attention_fn=attention_fn, rngs=rngs, **options,
        )  # fmt: skip
        if not 0 < opening < 1:
            raise ValueError(_must("opening", "be strictly between 0 and 1", opening))
        if not self.use_bias and opening != 0.5:
            raise ValueError(_must("opening", "be 0.5 with use_bias=False", opening))
        self.elementwise = elementwise
        self.gate = nnx.Linear(
            self.in_features,
            self.qkv_features if elementwise else self.num_heads,
            use_bias=self.use_bias,
            dtype=self.dtype,
            param_dtype=self.param_dtype,
            precision=self.precision,
            kernel_init=gate_kernel_init,
            bias_init=prior_bias(opening),
            promote_dtype=self.qkv_promote_dtype,
            rngs=rngs,
        )

    def __call__(
        self,
        inputs_q: ArrayLike,
        inputs_k: ArrayLike | None = None,
        inputs_v: ArrayLike | None = None,
        *,
        mask: ArrayLike | None = None,
        deterministic: bool | None = None,
        rngs: nnx.Rngs | nnx.RngStream | None = None,
        sow_weights: bool = False,
        decode: bool | None = None,
        is_causal: bool = False,
        out_sharding: Any = None,
        qkv_sharding: Any = None,
        input_positions: ArrayLike | None = None,
        gate_inputs: ArrayLike | None = None,
        return_gates: bool = False,
        return_attention: bool = False,
    ) -> Any:
        """Attends from `inputs_q` to `inputs_k`, and gates what it finds.

        Args:
          inputs_q: `[..., T, in_features]`.
          inputs_k, inputs_v: `[..., S, in_kv_features]`; the queries' and the keys' if None.
          mask: broadcastable to `[..., num_heads, T, S]`; where False, a key is not seen.
          deterministic, rngs, sow_weights, decode, is_causal, out_sharding, qkv_sharding: as for
            `flax.nnx.MultiHeadAttention`; when decoding, `is_causal` has nothing to add.
          input_positions: `[..., T]`, for an attention function that asks for them (the newest
            Flax's with rotary embeddings).
          gate_inputs: what the gates look at, `[..., T, in_features]`; `inputs_q` if None.
          return_gates: whether to return the gates, `[..., T, num_heads]`, or
            `[..., T, num_heads, head_dim]` if elementwise, too.
          return_attention: whether to return the attention weights, `[..., num_heads, T, S]`, too:
            what the function makes of the identity as values, without dropout.

        Returns:
          `[..., T, out_features]`, and then the gates and the weights, each if asked for.

        Raises:
          ValueError: if the attention function does not take what it has to be told.
        """
        given = self.project(inputs_q, inputs_k, inputs_v, mask, is_causal, decode, qkv_sharding)
        key = self.dropout_key(deterministic, rngs)
        told = {} if input_positions is None else {"input_positions": input_positions}
        sower = {"module": self} if sow_weights else {}
        attended = self._attend(given, given.value, key, told | sower)
        gates = self._gates(jnp.asarray(inputs_q if gate_inputs is None else gate_inputs))
        factors = gates if self.elementwise else gates[..., None]
        gated = (attended.astype(gates.dtype) * factors).astype(attended.dtype)
        at = {} if out_sharding is None else {"out_sharding": out_sharding}
        outputs = self.out(gated, **at)
        found = (outputs, gates) if return_gates else (outputs,)
        if return_attention:
            found = (*found, self._weights(given, told))
        return found if len(found) > 1 else outputs

    def _gates(self, inputs: Array) -> Array:
        logits = self.gate(inputs)
        if self.elementwise:
            logits = logits.reshape(*logits.shape[:-1], self.num_heads, self.head_dim)
        return SIGMOID(logits.astype(computed_in(logits.dtype)))

    def _attend(
        self, given: Projected, value: Array, key: Array | None, told: dict[str, Any]
    ) -> Array:
        """`[..., T, N, H]`, by the attention function, which is told what it has to know."""
        needed = dict(told)
        if given.mask is not None:
            needed["mask"] = given.mask
        if given.is_causal:
            needed["is_causal"] = True
        if key is not None:
            needed |= {
                "dropout_rng": key, "dropout_rate": self.dropout_rate, "deterministic": False,
            }  # fmt: skip
        # How it is computed: left to a function that does not ask.
        wished = {
            "broadcast_dropout": self.broadcast_dropout,
            "dtype": self.dtype,
            "precision": self.precision,
        }
        taken = inspect.signature(self.attention_fn).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in taken.values()):
            if missing := [name for name in needed if name not in taken]:
                raise ValueError(
                    _must(
                        "attention_fn",
                        f"be a function that takes {', '.join(missing)} for this call",
                        repr(self.attention_fn),
                    )
                )
            wished = {name: x for name, x in wished.items() if name in taken}
        return self.attention_fn(given.query, given.key, value, **needed, **wished)

    def _weights(self, given: Projected, told: dict[str, Any]) -> Array:
        """`[..., N, T, S]`: attention is linear in the values, so those of the identity show it.

        As many columns of it at a time as a value has features.
        """
        *batch, keys, heads, features = given.value.shape
        parts = -(-keys // features)
        columns = jnp.eye(keys, parts * features, dtype=given.value.dtype)
        values = columns.reshape(keys, parts, features).transpose(1, 0, 2)
        shape = (parts, *batch, keys, heads, features)
        values = jnp.broadcast_to(
            values.reshape(parts, *(1,) * len(batch), keys, 1, features), shape
        )
        found = jax.vmap(lambda value: self._attend(given, value, None, told))(values)
        # [parts, ..., T, N, features] to [..., N, T, parts * features]
        found = jnp.moveaxis(found, 0, -2)
        found = found.reshape(*found.shape[:-2], parts * features)[..., :keys]
        return jnp.moveaxis(found, -2, -3)
