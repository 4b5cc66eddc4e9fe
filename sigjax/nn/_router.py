"""Routes tokens to experts by the sigmoid of their affinity."""

import functools
from typing import Any, NamedTuple, Unpack

import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jax.typing import ArrayLike

from ..functional._arguments import check_integers
from ..functional._messages import must
from ..functional._precision import computed_in
from ..functional._sigmoid import SIGMOID
from ..functional._softplus import LOG_SIGMOID
from ._cell import require_features
from ._options import LinearOptions
from ._products import under
from ._router_choice import have_place, largest
from ._router_load import RouterBias, RouterLoad, counts_of, update_router_bias
from ._router_weights import shares

_must = functools.partial(must, of="sigjax.nn.SigmoidRouter")


class Routing(NamedTuple):
    """Where each token goes.

    Attributes:
      weights: `[..., k]`, float32 at least: of the experts' outputs; 0 where there is no expert.
      experts: int32, `[..., k]`, the best first; `num_experts` for a token that does not count and
        for an expert that had no place left.
      load: of how many tokens each expert was chosen.
    """

    weights: Array
    experts: Array
    load: RouterLoad


class SigmoidRouter(nnx.Module):
    r"""The $k$ experts of largest $s_i + b_i$, weighed by $s_i / \sum_j s_j$, $s = \sigma(x W)$.

    The sum is over the chosen. The balance bias $b$ decides who is chosen and nothing else: it has
    no gradient and does not enter the weights. After each step `update_bias` lowers it where
    tokens crowd and raises it where they are missing, without an auxiliary loss.

    Logits are float32 at least. The weights are the softmax of $\log s$: they and their gradients
    are finite and right where all chosen $s$ underflow or round to 1. Gradients reach the logits
    of the chosen experts only. Affinities that round to one number are a tie, and of a tie the
    lowest index is chosen, on every device.

    `dispatch` sorts the tokens by expert; docs/routing.md has a mixture of experts made of both.

    Args:
      in_features: of the tokens.
      num_experts: how many experts are routed to; one that all tokens share is the caller's.
      experts_per_token: $k$.
      num_groups: groups of neighbouring experts, usually those of one node.
      groups_per_token: how many groups a token's experts may come from, those whose two largest
        $s_i + b_i$ have the largest sum; all of them if None.
      normalize: False for the weights $s_i$ themselves; with it a single expert's weight is 1,
        whatever its affinity, and its gradient 0.
      route_scale: multiplies the weights.
      capacity_factor: an expert has this many times its equal share of places for choices, rounded
        up; those that find none are dropped. First choices come first, then the order of tokens.
        None drops nothing.
      bias_update_rate: $\gamma$ of `update_bias`.
      rngs: for the parameters.
      options: the other arguments of `flax.nnx.Linear`; unless given there is no bias besides $b$,
        and the product is made in float32 at least and with the highest precision, which a GPU
        or TPU would lower.

    Raises:
      TypeError: if what counts experts or groups is not an integer.
      ValueError: unless `num_groups` divides `num_experts`, the chosen groups hold
        `experts_per_token` experts, and `capacity_factor`, if any, is positive.

    Example:
      >>> import jax
      >>> from flax import nnx
      >>> router = SigmoidRouter(8, 4, experts_per_token=2, rngs=nnx.Rngs(0))
      >>> routing, gates = router(jax.numpy.ones((3, 5, 8)), return_gates=True)
      >>> routing.weights.shape, routing.experts.shape, gates.shape
      ((3, 5, 2), (3, 5, 2), (3, 5, 4))
      >>> int(routing.load.counts.sum())
      30
      >>> router.update_bias(routing.load)

    References:
      Liu et al. (DeepSeek-AI) 2024, DeepSeek-V3 Technical Report (arXiv:2412.19437),
      section 2.1.2.
      Wang, Gao, Zhao, Sun & Dai 2024, Auxiliary-Loss-Free Load Balancing Strategy for
      Mixture-of-Experts (arXiv:2408.15664).
    """

    def __init__(
        self,
        in_features: int,
        num_experts: int,
        *,
        experts_per_token: int,
        num_groups: int = 1,
        groups_per_token: int | None = None,
        normalize: bool = True,
        route_scale: float = 1.0,
        capacity_factor: float | None = None,
        bias_update_rate: float = 0.001,
        rngs: nnx.Rngs,
        **options: Unpack[LinearOptions],
    ):
        if groups_per_token is None:
            groups_per_token = num_groups
        check_integers(
            num_experts=num_experts,
            experts_per_token=experts_per_token,
            num_groups=num_groups,
            groups_per_token=groups_per_token,
        )
        if num_experts % num_groups:
            raise ValueError(_must("num_groups", f"divide the {num_experts} experts", num_groups))
        if groups_per_token > num_groups:
            raise ValueError(
                _must("groups_per_token", f"be at most the {num_groups} groups", groups_per_token)
            )
        eligible = num_experts // num_groups * groups_per_token
        if experts_per_token > eligible:
            raise ValueError(
                _must(
                    "experts_per_token",
                    f"be at most the {eligible} experts that a token may choose from",
                    experts_per_token,
                )
            )
        if capacity_factor is not None and not capacity_factor > 0:
            raise ValueError(_must("capacity_factor", "be positive", capacity_factor))
        wide = computed_in(options.get("param_dtype", jnp.float32))
        options = {
            "use_bias": False, "dtype": wide, "precision": lax.Precision.HIGHEST, **options
        }  # fmt: skip
        self.in_features = in_features
        self.num_experts = num_experts
        self.experts_per_token = experts_per_token
        self.num_groups = num_groups
        self.groups_per_token = groups_per_token
        self.normalize = normalize
        self.route_scale = route_scale
        self.capacity_factor = capacity_factor
        self.bias_update_rate = bias_update_rate
        self.linear = nnx.Linear(in_features, num_experts, rngs=rngs, **options)
        # Never narrower: steps of .001 would be lost in 16 bits.
        self.bias = RouterBias(jnp.zeros(num_experts, wide))

    def __call__(
        self, inputs: ArrayLike, *, where: ArrayLike | None = None, return_gates: bool = False
    ) -> Any:
        """The `Routing` of tokens `[..., in_features]`, and, if asked for, all affinities.

        Args:
          inputs: the tokens. Capacity is counted from all of them, padding included; in
            `jax.shard_map` and under `jax.vmap` from those of one call.
          where: boolean, `[...]`; False for padding, which goes to no expert and does not count.
          return_gates: whether to return $s$, `[..., num_experts]`, too.

        Raises:
          TypeError: if `where` is not boolean.
          ValueError: if there is another number of features, or `where` has another shape.
        """
        inputs = jnp.asarray(inputs)
        require_features("SigmoidRouter", inputs, self.in_features)
        logits = self.linear(inputs)
        logits = logits.astype(computed_in(logits.dtype))
        gates = SIGMOID(logits)
        bias = under(self.bias[...].astype(logits.dtype), logits)
        experts = largest(
            lax.stop_gradient(gates) + bias,
            self.experts_per_token,
            num_groups=self.num_groups,
            groups_per_token=self.groups_per_token,
        )
        chosen = jnp.take_along_axis(logits, experts, axis=-1, mode="promise_in_bounds")
        weights = shares(LOG_SIGMOID(chosen)) if self.normalize else SIGMOID(chosen)
        weights = self.route_scale * weights
        routing = self._without_some(weights, experts, where)
        return (routing, gates) if return_gates else routing

    def _without_some(self, weights: Array, experts: Array, where: ArrayLike | None) -> Routing:
        """The routing less padding and less what exceeds the capacity."""
        nobody = self.num_experts
        if where is not None:
            is_token = _mask(where, weights.shape[:-1])
            experts = jnp.where(is_token[..., None], experts, nobody)
        chosen = counts_of(experts, self.num_experts)
        dropped = jnp.zeros_like(chosen)
        if self.capacity_factor is not None:
            has_place = have_place(experts, self.num_experts, self.capacity_factor)
            experts = jnp.where(has_place, experts, nobody)
            dropped = chosen - counts_of(experts, self.num_experts)
        if where is not None or self.capacity_factor is not None:
            weights = jnp.where(experts < nobody, weights, 0)
        return Routing(weights, experts, RouterLoad(chosen, dropped))

    def update_bias(self, load: RouterLoad) -> None:
        """Moves the balance bias a step towards equal loads: see `update_router_bias`.

        Args:
          load: of a step; on several devices or for several microbatches, their sum.
        """
        self.bias[...] = update_router_bias(self.bias[...], load.counts, rate=self.bias_update_rate)


def _mask(where: ArrayLike, shape: tuple[Any, ...]) -> Array:
    mask = jnp.asarray(where)
    if mask.dtype != jnp.bool_:
        raise TypeError(_must("where", "be boolean", mask.dtype.name))
    if mask.shape != shape:
        raise ValueError(_must("where", f"have shape {shape}, that of the tokens", mask.shape))
    return mask
