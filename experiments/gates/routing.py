r"""A sigmoid that chooses experts: loads with and without a balance, gradients where it saturates.

Figure: Wang et al. 2024 (arXiv:2408.15664) and DeepSeek-V3 (arXiv:2412.19437): the share of the
fullest expert over training steps on tokens of which some kinds are common, routed without a
balance, with the bias that moves by its rate against the load, with an auxiliary loss (Fedus, Zoph
& Shazeer 2022, JMLR 23(120), equation 4), and by a softmax with that loss; what each costs the
task; and the gradient of a weight $s_1/(s_1 + s_2)$, $s = \sigma(z)$, as both logits saturate.

    python -m experiments run routing

Time on 2 CPU cores: quick 10 s, paper 12 min. Must show: with the bias the fullest expert has at
most 1.1 times the mean load; the gradient is $w_1 w_2\,\sigma(-z)$ to float32's last digits from
$z = -100$ to 80, where the usual quotient gives NaN or 0 at the ends.

The balance must be faster than the router: the bias moves an affinity by .001 a step, Adam by up
to its rate times a quarter of the inputs' summed magnitudes, about 3 here. With 64 experts and a
rate of .001 it outruns the bias, and the mean over seeds of the fullest expert's load stays at
twice the mean load after 3,000 steps; at DeepSeek-V3's rate of .00022, which the paper preset has,
all seeds are even.
"""

import dataclasses
import functools
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import xarray as xr
from flax import nnx
from jax import Array
from matplotlib.figure import Figure

import sigjax.nn as snn
from experiments.harness import Claim, Settings, Within, over_devices, reported, sweep
from experiments.harness.bands import mean_and_range
from experiments.harness.settings import wrong_value
from experiments.harness.style import MEANING, THEORY

ROUTERS = ("no balance", "bias", "auxiliary loss", "softmax, auxiliary loss")
_AUXILIARY = 0.01  # Fedus, Zoph & Shazeer 2022, section 2.2
_FEATURES = 16
_CHOSEN = 2
_MOST_BATCHES = 1024  # after these, tokens come again
_GAP = 1.0  # between the two logits that saturate together


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Experts that each could learn one kind of token."""

    experts: Annotated[int, Within(4)] = 8
    """Experts, and kinds of tokens; the n-th kind is 1/n as common as the first."""
    tokens: Annotated[int, Within(32)] = 128
    """Tokens a step."""
    steps: Annotated[int, Within(100)] = 1000
    """Steps of Adam."""
    learning_rate: Annotated[float, Within(0, above=True)] = 0.001
    """Learning rate of the router and the experts."""
    bias_rate: Annotated[float, Within(0, above=True)] = 0.001
    """What the balance bias moves by a step; the papers' is 0.001."""
    seeds: Annotated[int, Within(1)] = 3
    """Independent tasks and routers."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.steps % 10:
            raise wrong_value("steps", "a multiple of 10: loads are of tenths", self.steps)

    @classmethod
    def quick(cls) -> "Config":
        """8 experts, 1,000 steps, 3 seeds."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """64 experts, as DeepSeekMoE has, at DeepSeek-V3's learning rate; 3,000 steps, 5 seeds."""
        return cls(experts=64, tokens=2048, steps=3000, learning_rate=2.2e-4, seeds=5)


class Mixture(nnx.Module):
    """Linear experts, two for each token, behind a router."""

    def __init__(self, config: Config, rate: float, rngs: nnx.Rngs):
        self.router = snn.SigmoidRouter(
            _FEATURES,
            config.experts,
            experts_per_token=_CHOSEN,
            bias_update_rate=rate,
            rngs=rngs,
        )
        draw = nnx.initializers.lecun_normal(batch_axis=0)
        self.experts = nnx.Param(draw(rngs.params(), (config.experts, _FEATURES, _FEATURES)))


def _by_softmax(mixture: Mixture, tokens: Array) -> tuple[Array, Array, Array]:
    """Weights, experts and affinities of the two most probable, as Switch transformers choose."""
    shares = jax.nn.softmax(mixture.router.linear(tokens))
    chosen, experts = jax.lax.top_k(shares, _CHOSEN)
    return chosen / chosen.sum(-1, keepdims=True), experts, shares


class Tokens(NamedTuple):
    """What is routed, `[tokens, features]`, and what the experts are to make of it, the same."""

    inputs: Array
    wanted: Array


def _draw(key: Array, *, config: Config) -> Tokens:
    """Tokens around the centre of their kind, each kind with a linear map of its own."""
    for_centre, for_map, for_kind, for_noise = jax.random.split(key, 4)
    kinds, count = config.experts, config.tokens * min(config.steps, _MOST_BATCHES)
    centres = jax.random.normal(for_centre, (kinds, _FEATURES))
    maps = jax.random.normal(for_map, (kinds, _FEATURES, _FEATURES)) / _FEATURES**0.5
    common = -jnp.log(jnp.arange(1.0, kinds + 1))
    kind = jax.random.categorical(for_kind, common, shape=(count,))
    inputs = centres[kind] + 0.5 * jax.random.normal(for_noise, (count, _FEATURES))

    def mapped(batch: tuple[Array, Array]) -> Array:
        tokens, kind = batch
        every = jnp.einsum("tf,kfg->tkg", tokens, maps)
        return jnp.take_along_axis(every, kind[:, None, None], axis=1)[:, 0]

    # A batch at a time: every kind's answer to every token of the paper's size would be 44 GB.
    batches = inputs.reshape(-1, config.tokens, _FEATURES), kind.reshape(-1, config.tokens)
    return Tokens(inputs, jax.lax.map(mapped, batches).reshape(inputs.shape))


def _train(
    key: Array, drawn: Tokens, router: tuple[Array, Array, Array], *, config: Config
) -> tuple[Array, Array]:
    """Loads `[steps, experts]` and the task's loss `[steps]`; tokens are taken in their order.

    A router is three booleans, so that all of them are one program: whether the balance bias
    moves, whether there is the auxiliary loss, and whether affinities are a softmax.
    """
    has_bias, has_auxiliary, is_softmax = router
    parts: Any = nnx.split(Mixture(config, config.bias_rate, nnx.Rngs(key)), nnx.Param, ...)
    graph, parameters, rest = parts
    optimizer = optax.adam(config.learning_rate)
    batches = len(drawn.inputs) // config.tokens

    def loss(parameters: nnx.State, rest: nnx.State, batch: Tokens) -> tuple[Array, Any]:
        mixture = nnx.merge(graph, parameters, rest)
        tokens, wanted = batch
        routing, gates = mixture.router(tokens, return_gates=True)
        by_sigmoid = routing.weights, routing.experts, gates / gates.sum(-1, keepdims=True)
        weights, experts, shares = jax.tree.map(
            functools.partial(jnp.where, is_softmax), _by_softmax(mixture, tokens), by_sigmoid
        )
        counts = jnp.zeros(config.experts, jnp.int32).at[experts.ravel()].add(1)
        every = jnp.einsum("tf,efg->teg", tokens, mixture.experts[...])
        answers = jnp.take_along_axis(every, experts[..., None], axis=1)
        task = jnp.mean((jnp.sum(weights[..., None] * answers, axis=1) - wanted) ** 2)
        # sum f_i P_i times the number of experts is 1 where all loads are equal
        even = config.experts * jnp.sum(counts / counts.sum() * shares.mean(0))
        return jnp.where(has_auxiliary, task + _AUXILIARY * even, task), (task, counts)

    def step(state: tuple[Any, Any, Any], number: Array) -> tuple[tuple, tuple[Array, Array]]:
        parameters, rest, moments = state
        batch = jax.tree.map(
            lambda part: jax.lax.dynamic_slice_in_dim(
                part, number % batches * config.tokens, config.tokens
            ),
            drawn,
        )
        slope, (task, counts) = jax.grad(loss, has_aux=True)(parameters, rest, batch)
        change, moments = optimizer.update(slope, moments)
        mixture = nnx.merge(graph, parameters, rest, copy=True)
        mixture.router.update_bias(snn.RouterLoad(counts, jnp.zeros_like(counts)))
        moved = nnx.state(mixture, nnx.Not(nnx.Param))
        rest = jax.tree.map(functools.partial(jnp.where, has_bias), moved, rest)
        return (optax.apply_updates(parameters, change), rest, moments), (counts, task)

    state = parameters, rest, optimizer.init(parameters)
    _, found = jax.lax.scan(step, state, jnp.arange(config.steps))
    return found


def _all_routers(config: Config, key: Array) -> xr.Dataset:
    for_tokens, for_model = jax.random.split(key)

    def train(key: Array, for_tokens: Array) -> tuple[Array, Array]:
        """Every router, `[router, ...]`, of the same weights and on the same tokens."""
        routers = (
            jnp.array([name == "bias" for name in ROUTERS]),
            jnp.array(["auxiliary" in name for name in ROUTERS]),
            jnp.array([name.startswith("softmax") for name in ROUTERS]),
        )
        function = functools.partial(_train, config=config)
        drawn = _draw(for_tokens, config=config)
        return jax.vmap(function, in_axes=(None, None, 0))(key, drawn, routers)

    keys = (jax.random.split(each, config.seeds) for each in (for_model, for_tokens))
    counts, task = (np.asarray(part, np.float64) for part in over_devices(train, *keys))
    window = config.steps // 10
    windows = (config.seeds, len(ROUTERS), 10, window)
    # Of one step the fullest expert is above the mean by chance alone.
    sums = counts.reshape(*windows, -1).sum(3)
    dims = ("seed", "router", "tenth")
    return xr.Dataset(
        {
            "max_over_mean": (dims, sums.max(-1) / sums.mean(-1)),
            "task_loss": (dims, task.reshape(windows).mean(3)),
        },
        coords={
            "seed": np.arange(config.seeds),
            "router": list(ROUTERS),
            "tenth": (np.arange(10) + 0.5) * window,
        },
    )


def _saturated(shifts: np.ndarray) -> xr.Dataset:
    """Of the first weight by the first logit, in float32, where both logits move together."""

    def ours(first: Array, second: Array) -> Array:
        router = snn.SigmoidRouter(1, 2, experts_per_token=2, rngs=nnx.Rngs(0))
        router.linear.kernel[...] = jnp.stack([first, second])[None]
        routing = router(jnp.ones(1))
        return jnp.sum(jnp.where(routing.experts == 0, routing.weights, 0))

    def usual(first: Array, second: Array) -> Array:
        s = jax.nn.sigmoid(jnp.stack([first, second]))
        return s[0] / s.sum()

    z = jnp.asarray(shifts, jnp.float32)
    slopes = [jax.jit(jax.vmap(jax.grad(f)))(z, z - _GAP) for f in (ours, usual)]
    first, second = (np.asarray(x, np.float64) for x in (z, z - _GAP))
    log_s = [-np.logaddexp(0, -x) for x in (first, second)]
    weight = 1 / (1 + np.exp(log_s[1] - log_s[0]))
    exact = weight * (1 - weight) * np.exp(-np.logaddexp(0, first))
    return xr.Dataset(
        {
            "slope": (("form", "logit"), np.stack([np.asarray(s, np.float64) for s in slopes])),
            "exact_slope": ("logit", exact),
        },
        coords={"form": ["sigjax", "quotient"], "logit": first},
    )


def measure(config: Config, key: Array) -> xr.Dataset:
    """Trains with each router, and differentiates weights of saturated logits."""
    (trained,) = sweep([{"task": "linear maps"}], lambda _: _all_routers(config, key))
    return trained.merge(_saturated(np.linspace(-120, 80, 201)))


def claims(dataset: xr.Dataset) -> list[Claim]:
    """The balance that the bias keeps, and the gradient of saturated routers."""
    last = dataset["max_over_mean"].isel(tenth=-1)
    loss = dataset["task_loss"].isel(tenth=-1).mean("seed")
    seen = dataset.where(dataset["logit"] >= -100, drop=True)
    off = np.abs(seen["slope"].sel(form="sigjax") / seen["exact_slope"] - 1)
    quotient = dataset["slope"].sel(form="quotient")
    return [
        Claim(
            "bias: load of the fullest expert over the mean, last tenth, mean over seeds",
            "Wang et al. 2024: balanced without an auxiliary loss",
            1.1,
            float(last.sel(router="bias").mean()),
            kind="statistical",
            relation="<=",
        ),
        Claim(
            "no balance: the same, best seed",
            "on tokens of which some kinds are common loads are uneven",
            1.3,
            float(last.sel(router="no balance").min()),
            kind="qualitative",
            relation=">=",
        ),
        *(
            reported(
                f"{router}: load of the fullest expert over the mean",
                "Fedus, Zoph & Shazeer 2022; beside the bias",
                float(last.sel(router=router).mean()),
            )
            for router in ROUTERS[2:]
        ),
        *(
            reported(
                f"{router}: loss of the task over that without a balance, last tenth",
                "what the balance costs",
                float(loss.sel(router=router)) / float(loss.sel(router="no balance")),
            )
            for router in ROUTERS[1:]
        ),
        Claim(
            "gradient of a weight by its logit, from -100 to 80: largest relative error",
            "w (1 - w) sigma(-z), float32",
            0.0,
            float(off.max()),
            kind="exact",
            tolerance=2e-6,  # some ten roundings of float32
        ),
        reported(
            "quotient of sigmoids: logit from which its gradient is 0",
            "1 - sigma(z) in float32",
            float(dataset["logit"].where((quotient == 0) & (dataset["logit"] > 0)).min()),
        ),
        reported(
            "quotient of sigmoids: logit up to which its gradient is NaN, 0 or infinite",
            "0/0 where both sigmoids underflow",
            float(
                dataset["logit"]
                .where((~np.isfinite(quotient) | (quotient == 0)) & (dataset["logit"] < 0))
                .max()
            ),
        ),
    ]


def plot(dataset: xr.Dataset) -> Figure:
    """Loads over steps; the task; the gradient where logits saturate."""
    figure, (load, task, slope) = plt.subplots(1, 3, figsize=(14, 4.2))
    for router in ROUTERS:
        for axis, name in ((load, "max_over_mean"), (task, "task_loss")):
            seeds = dataset[name].sel(router=router)
            mean_and_range(axis, dataset["tenth"], seeds, "o-", markersize=3, label=router)
    load.axhline(1.1, color="black", linestyle=":", linewidth=1)
    load.set_xlabel("step (1)")
    load.set_ylabel("load of the fullest expert over the mean (1)")
    load.set_title("the bias evens loads out (dotted: 1.1)")
    load.legend()
    task.set_xlabel("step (1)")
    task.set_ylabel("mean squared error of the task (1)")
    task.set_yscale("log")
    task.set_title("what it costs; bands: all seeds")
    for form, mark, library in (("sigjax", "-", "sigjax"), ("quotient", "x", "peer")):
        shown = dataset["slope"].sel(form=form)
        slope.plot(
            dataset["logit"],
            shown.where(shown != 0),
            mark,
            color=MEANING[library],
            markersize=4,
            label=form,
        )
    slope.plot(dataset["logit"], dataset["exact_slope"], label="closed form", **THEORY)
    slope.set_yscale("log")
    slope.set_xlabel("logit of the chosen expert, the second's is 1 less (1)")
    slope.set_ylabel("gradient of its weight (1)")
    slope.set_title("the quotient dies beyond 17 and below -44")
    slope.legend()
    return figure
