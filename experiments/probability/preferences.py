r"""Learning from which of two answers was preferred: $-\log \sigma$ of a difference.

Figure: Rafailov et al. 2023 (DPO, arXiv:2305.18290), whose loss is
$-\log\sigma(\beta(d_w - d_l))$ with $d = \log\pi - \log\pi_{ref}$: the error of its gradient over
the margin in 16 bit; the reward implied by a policy that it trained on logged pairs, over the
reward that drew them (Bradley & Terry 1952); and the error of ORPO's gradient (Hong et al. 2024,
arXiv:2403.07691) as the chosen answer becomes certain.

    python -m experiments run preferences

Time on 2 CPU cores: quick 5 s, paper 15 s. Must show: the gradient within half an ulp in 16 bit at
every margin; a policy whose implicit reward is the true one, slope 1; and, with the rejected answer
at a log-probability of -1, ORPO's gradient reaching $-1/(e - 1)$ where the chosen one is certain.
"""

import dataclasses
import functools
from typing import Annotated

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import xarray as xr
from jax import Array
from matplotlib.figure import Figure

from experiments.harness import Claim, Settings, Within, over_devices, reported
from experiments.harness.style import MEANING, THEORY
from experiments.oracle.ulps import every_16_bit_number, ulp_errors
from sigjax.losses import odds_ratio_preference_loss, preference_loss

DTYPES = ("bfloat16", "float16")
LIBRARIES = {"sigjax": "sigjax", "usual": "log_sigmoid, put together"}
SMOOTHING = 0.1  # the share of wrong labels that conservative DPO is often told
_MARGINS = (-16.0, 16.0)
_REJECTED = -1.0  # ORPO's rejected answer, as mean log-probability
_REWARD_STD = 1.0


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """A policy over a few answers, trained from logged pairs."""

    answers: Annotated[int, Within(3)] = 12
    """Answers that the policy chooses among."""
    pairs: int = 20_000
    """Logged comparisons, each of two answers drawn at random."""
    beta: Annotated[float, Within(0, above=True)] = 0.1
    """The beta of DPO: how strongly the policy is held to the reference."""
    steps: int = 400
    """Steps of Adam over all pairs."""
    seeds: Annotated[int, Within(2)] = 5
    """Independent rewards and logs."""

    @classmethod
    def quick(cls) -> "Config":
        """20,000 pairs, 5 seeds."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """200,000 pairs, 20 seeds."""
        return cls(pairs=200_000, steps=1000, seeds=20)


def usual(margin: Array, smoothing: float) -> Array:
    r"""$-(1-\epsilon)\log\sigma(x) - \epsilon\log\sigma(-x)$ as it is usually put together."""
    wrong, right = jax.nn.log_sigmoid(-margin), jax.nn.log_sigmoid(margin)
    return -(1 - smoothing) * right - smoothing * wrong


def usual_odds_ratio(chosen: Array, rejected: Array) -> Array:
    r"""$-\log\sigma$ of the difference of the two log-odds $c - \log(1 - e^c)$."""
    odds = [x - jnp.log1p(-jnp.exp(x)) for x in (chosen, rejected)]
    return -jax.nn.log_sigmoid(odds[0] - odds[1])


def _errors(dtype: str) -> xr.Dataset:
    """Of the gradient at every number of a dtype within the margins, in ulp."""
    numbers = every_16_bit_number(dtype)
    margins = np.unique(numbers[(numbers >= _MARGINS[0]) & (numbers <= _MARGINS[1])])
    exact = margins.astype(np.float64)
    errors = []
    for smoothing in (0.0, SMOOTHING):
        share = float(jnp.asarray(smoothing, dtype))
        truth = share - 1 / (1 + np.exp(exact))
        for loss in (_ours, usual):
            slope = jax.jit(jax.vmap(jax.grad(functools.partial(loss, smoothing=share))))
            found = np.asarray(slope(margins)).astype(np.float64)
            with jax.enable_x64(True):
                errors.append(
                    ulp_errors(jnp.asarray(found), jnp.asarray(truth), dtype).ulp.astype(np.float32)
                )
    at = f"{dtype}_margin"
    return xr.Dataset(
        {f"{dtype}_ulp": (("smoothing", "library", at), np.reshape(errors, (2, 2, -1)))},
        coords={"smoothing": [0.0, SMOOTHING], "library": list(LIBRARIES), at: exact},
    )


def _ours(margin: Array, smoothing: float) -> Array:
    return preference_loss(margin, jnp.zeros_like(margin), label_smoothing=smoothing)


def _train(key: Array, *, config: Config) -> tuple[Array, Array, Array]:
    """True and implicit reward of each answer, and the share of new pairs put in their order."""
    for_reward, for_pairs, for_labels = jax.random.split(key, 3)
    answers = config.answers
    reward = _REWARD_STD * jax.random.normal(for_reward, (answers,))
    first = jax.random.randint(for_pairs, (config.pairs,), 0, answers)
    shift = jax.random.randint(jax.random.fold_in(for_pairs, 1), (config.pairs,), 1, answers)
    second = (first + shift) % answers
    won = jax.random.bernoulli(for_labels, jax.nn.sigmoid(reward[first] - reward[second]))
    winner, loser = jnp.where(won, first, second), jnp.where(won, second, first)
    wins = jnp.zeros((answers, answers)).at[winner, loser].add(1.0)

    def loss(logits: Array) -> Array:
        ratio = jax.nn.log_softmax(logits) + jnp.log(float(answers))  # to a uniform reference
        each = preference_loss(ratio[:, None], ratio[None, :], beta=config.beta)
        return jnp.sum(wins * each) / config.pairs

    # Adam moves a logit by its rate a step: rewards of some units are logits of some units / beta.
    optimizer = optax.adam(optax.cosine_decay_schedule(1.0, config.steps))

    def step(state: tuple[Array, optax.OptState], _: None) -> tuple[tuple, None]:
        logits, moments = state
        change, moments = optimizer.update(jax.grad(loss)(logits), moments)
        return (logits + change, moments), None

    start = jnp.zeros(answers)
    (logits, _), _ = jax.lax.scan(step, (start, optimizer.init(start)), length=config.steps)
    implied = config.beta * logits
    chance = jax.nn.sigmoid(reward[:, None] - reward[None, :])
    right = jnp.where(implied[:, None] > implied[None, :], chance, 1 - chance)
    off = 1 - jnp.eye(answers)
    return reward - reward.mean(), implied - implied.mean(), jnp.sum(right * off) / jnp.sum(off)


def measure(config: Config, key: Array) -> xr.Dataset:
    """Gradients of the losses, and policies trained by DPO."""
    rewards, implied, right = over_devices(
        functools.partial(_train, config=config), jax.random.split(key, config.seeds)
    )
    difference = rewards[:, :, None] - rewards[:, None, :]
    best = 1 / (1 + np.exp(-np.abs(np.asarray(difference, np.float64))))
    apart = ~np.eye(config.answers, dtype=bool)
    chosen = -np.logspace(0, -8, 97, dtype=np.float32)
    chosen = np.append(chosen, np.float32(0))
    slopes = [
        jax.vmap(jax.grad(loss), (0, None))(jnp.asarray(chosen), _REJECTED)
        for loss in (odds_ratio_preference_loss, usual_odds_ratio)
    ]
    return xr.merge(
        [
            *map(_errors, DTYPES),
            xr.Dataset(
                {
                    "reward": (("seed", "answer"), np.asarray(rewards)),
                    "implied": (("seed", "answer"), np.asarray(implied)),
                    "right": ("seed", np.asarray(right)),
                    "bayes": ("seed", best[:, apart].mean(axis=1)),
                    "odds_slope": (
                        ("library", "chosen"),
                        np.stack([np.asarray(s) for s in slopes]),
                    ),
                },
                coords={"chosen": chosen.astype(np.float64), "library": list(LIBRARIES)},
            ),
        ]
    )


def _slopes(dataset: xr.Dataset) -> np.ndarray:
    """Of the implicit over the true reward, `[seed]`: least squares through the mean."""
    x, y = dataset["reward"].values, dataset["implied"].values
    return np.sum(x * y, axis=1) / np.sum(x * x, axis=1)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """Half an ulp, the closed form at certainty, and the reward that is recovered."""
    found = []
    for dtype in DTYPES:
        ulp = dataset[f"{dtype}_ulp"]
        found.append(
            Claim(
                f"{dtype}: largest error of the gradient over the margin, ulp",
                "rounded once, also with label smoothing, at every number of the dtype",
                0.51,
                float(ulp.sel(library="sigjax").max()),
                kind="exact",
                relation="<=",
            )
        )
        found.append(
            reported(
                f"{dtype}: the same of the usual composition, with label smoothing 0.1",
                "near its root the gradient is a difference of two rounded shares",
                float(ulp.sel(library="usual", smoothing=SMOOTHING).max()),
            )
        )
    odds = dataset["odds_slope"]
    found.append(
        Claim(
            "ORPO: gradient by the chosen log-probability where it is 0 and the rejected one -1",
            "-1/(e - 1), the limit of -e^(r - c) / (1 - e^r) as c reaches 0",
            -1 / np.expm1(-_REJECTED),
            float(odds.sel(library="sigjax", chosen=0.0)),
            kind="exact",
            tolerance=2.0**-23,  # some roundings of float32
        )
    )
    found.append(
        reported(
            "ORPO by the usual composition: share of drawn log-probabilities whose gradient is NaN",
            "log1p(-e^c) is -inf at c = 0, and infinity minus infinity follows",
            float(odds.sel(library="usual").isnull().mean()),
        )
    )
    slopes = _slopes(dataset)
    found += [
        Claim(
            "DPO: slope of the implicit over the true reward, mean over seeds",
            "beta log(pi/pi_ref) = reward + constant, Rafailov et al. 2023, equation 5",
            1.0,
            float(slopes.mean()),
            kind="statistical",
            tolerance=0.03,
        ),
        Claim(
            "DPO: share of new pairs put in the order that was preferred, over the best possible",
            "the Bayes rate mean(max(sigma(d), sigma(-d))) of Bradley & Terry's model",
            1.0,
            float((dataset["right"] / dataset["bayes"]).mean()),
            kind="statistical",
            tolerance=0.005,
        ),
    ]
    return found


_COLOURS = {"sigjax": MEANING["sigjax"], "usual": MEANING["peer"]}


def plot(dataset: xr.Dataset) -> Figure:
    """Error over margin; implicit over true reward; ORPO near certainty."""
    figure, (error, policy, odds) = plt.subplots(1, 3, figsize=(14, 4.2))
    for library, name in LIBRARIES.items():
        ulp = dataset["bfloat16_ulp"].sel(smoothing=SMOOTHING, library=library)
        error.plot(
            ulp["bfloat16_margin"],
            ulp.clip(min=1e-2),
            ".",
            color=_COLOURS[library],
            markersize=2,
            label=name,
        )
    error.set_yscale("log")
    error.set_xlabel("margin: chosen less rejected score (1)")
    error.set_ylabel("error of the gradient (ulp of bfloat16)")
    error.set_ylim(top=1e3)  # room for the legend
    error.set_title(f"label smoothing {SMOOTHING}: digits are lost at the root")
    error.legend(loc="upper left")
    for seed in range(dataset.sizes["seed"]):
        part = dataset.isel(seed=seed)
        policy.plot(part["reward"], part["implied"], "o", markersize=4)
    ends = np.array([float(dataset["reward"].min()), float(dataset["reward"].max())])
    policy.plot(ends, ends, label="slope 1", **THEORY)
    policy.set_xlabel("reward that drew the preferences (1)")
    policy.set_ylabel(r"implicit reward $\beta\,\log(\pi/\pi_{ref})$ (1)")
    policy.set_title("DPO finds the reward; a colour a seed")
    policy.legend()
    certain = dataset.isel(chosen=slice(0, -1))
    distance = -certain["chosen"].values
    share_left = -np.expm1(-distance)  # 1 - e^c
    ratio = np.exp(_REJECTED + distance) / -np.expm1(_REJECTED)
    exact = -ratio / (1 + ratio * share_left)
    for (library, name), mark in zip(LIBRARIES.items(), ("o", "x"), strict=True):
        off = np.abs(certain["odds_slope"].sel(library=library) / exact - 1)
        odds.plot(
            distance,
            off.clip(min=1e-9),
            mark,
            color=_COLOURS[library],
            markersize=4,
            fillstyle="none",
            label=name,
        )
        missing = distance[np.isnan(off)]
        if missing.size:
            odds.axvspan(missing.min(), missing.max(), color="0.9", label=f"{name}: NaN")
    odds.set_xscale("log")
    odds.set_yscale("log")
    odds.invert_xaxis()
    odds.set_xlabel("minus the chosen answer's log-probability (1)")
    odds.set_ylabel("relative error of the gradient by it, float32 (1)")
    odds.set_title("ORPO as the chosen answer becomes certain")
    odds.set_ylim(top=1e-4)  # room for the legend
    odds.legend(loc="upper left")
    return figure
