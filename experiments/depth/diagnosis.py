r"""The probe on models that die, on what helps them, and on public architectures with faults.

Figure: norm of the gradient at each layer of a deep logistic network, before and after its cure
(tanh with critical orthogonal weights); loss over training of both; a bfloat16 network whose gates
start at 8, as it is and through `sigjax.stabilize`. On handwritten digits. Below: the first finding
on public architectures in small, healthy (as initialised, after 50 steps of Adam) and each with
three faults; and what a diagnosis costs beside the gradient.

    python -m experiments run diagnosis

Time on 2 CPU cores: quick 45 s, paper 11 min. Must show: the probe's finding and rate, confirmed by
training: what it calls vanishing does not learn, what it does not, does; `jax.nn`'s bfloat16 slope
at 8 is exactly 0, so the network as it is stays where it was; healthy architectures have no
finding, broken ones have that of their fault, at its layer.

Critical weights learn as long as training leaves them critical. A step of Adam moves each weight by
about its rate r, which changes an n by n kernel by a matrix of norm up to n r, beside singular
values near 1; over L layers this adds up to L n r: 2 for 20 layers of 100 at r = 0.001. At that
rate 50 layers of 300 (15) lose their isometry within ten steps and classify 19 % of the digits
correctly at the end; at 0.0001 (1.5) it is 97 % after 400 steps.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import optax
import xarray as xr
from flax import nnx
from jax import Array, lax
from matplotlib.figure import Figure

import sigjax
from experiments.datasets.images import CLASSES, DIGITS, PIXELS, TESTED_DIGITS, Batch, split_digits
from experiments.harness import Claim, Settings, Within, gather, reported, sweep
from sigjax.probe import KINDS, diagnose
from sigjax.theory import critical_weight_std, mean_field

from ._patients import ARCHITECTURES, WITH_ZEROS
from ._patients.clinic import HEALTHY, judged
from ._patients.price import SUBJECTS, price

DEEP = ("logistic, LeCun weights", "tanh, critical orthogonal weights")
NARROW = ("bfloat16 gates at 8", "the same, stabilized")
_GATE_BIAS, _GATE_SPREAD = 8.0, 0.25
# Of each kind one that compiles within seconds.
_FEW = ("dict of arrays", "actor-critic", "mixture of experts", "GRU classifier")
_MOST_FAULTS = 3
# What is timed, when, and how many times the gradient's time it may take.
_AIMS = (("diagnose", "first", 3.0), ("step with a report", "later", 1.15))


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Size and training of the models."""

    depth: int = 20
    """Hidden layers of the deep models."""
    width: int = 100
    """Units of a hidden layer."""
    steps: int = 200
    """Steps of Adam."""
    batch: Annotated[int, Within(1, DIGITS - TESTED_DIGITS)] = 128
    """Digits in a step."""
    learning_rate: float = 1e-3
    """Adam's learning rate for the deep models."""
    gate_learning_rate: float = 1e-2
    """Adam's learning rate for the gates, which have far to go."""
    patients: tuple[str, ...] = _FEW
    """Architectures that are diagnosed healthy and with faults."""
    subjects: tuple[str, ...] = ("24 layers of 64, batch 64",)
    """Models whose diagnosis is timed."""
    rounds: Annotated[int, Within(1)] = 1
    """Repetitions of each timing."""

    @classmethod
    def quick(cls) -> "Config":
        """20 layers of 100."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """50 layers of 300, at a tenth of the learning rate, as the module's text says."""
        return cls(
            depth=50,
            width=300,
            steps=2000,
            learning_rate=1e-4,
            patients=(*ARCHITECTURES, *WITH_ZEROS),
            subjects=tuple(SUBJECTS),
            rounds=5,
        )


def deep(name: str, config: Config) -> nnx.Sequential:
    """A plain network of `config.depth` hidden layers."""
    logistic = name == DEEP[0]
    activation = nnx.sigmoid if logistic else nnx.tanh
    kernel = (
        nnx.initializers.lecun_normal()
        if logistic
        else nnx.initializers.orthogonal(float(critical_weight_std(jnp.tanh)))
    )
    rngs = nnx.Rngs(0)
    widths = [PIXELS, *[config.width] * config.depth]
    layers: list[Any] = []
    for before, after in itertools.pairwise(widths):
        layers += [nnx.Linear(before, after, kernel_init=kernel, rngs=rngs), activation]
    return nnx.Sequential(*layers, nnx.Linear(config.width, CLASSES, rngs=rngs))


def gated(config: Config) -> nnx.Sequential:
    """One hidden layer of gates that are all but open, in bfloat16; only it is trained."""
    rngs = nnx.Rngs(0)
    narrow = functools.partial(nnx.Linear, dtype=jnp.bfloat16, rngs=rngs)
    # Pre-activations of 8 +- 0.25: bfloat16 rounds every sigmoid above 6.3 to 1.
    small = nnx.initializers.normal(_GATE_SPREAD / PIXELS**0.5)
    bias = nnx.initializers.constant(_GATE_BIAS)
    return nnx.Sequential(
        narrow(PIXELS, config.width, kernel_init=small, bias_init=bias),
        nnx.sigmoid,
        narrow(config.width, CLASSES),
    )


def loss(model: nnx.Sequential, batch: Batch) -> Array:
    """Mean softmax cross-entropy."""
    logits = model(batch.inputs).astype(jnp.float32)
    return jnp.mean(optax.softmax_cross_entropy_with_integer_labels(logits, batch.labels))


def cost(point: Mapping[str, Any]) -> float:
    """Relative time of a point: a deep network trains twenty times as long as a gate."""
    return 20.0 if point.get("model") in DEEP else 1.0


def measure(config: Config, key: Array) -> xr.Dataset:
    """Diagnoses and trains every model."""
    points = [{"model": name} for name in (*DEEP, *NARROW)]
    cures = gather(points, sweep(points, functools.partial(_point, config=config, key=key)))
    patients = [{"patient": name} for name in config.patients]
    subjects = [{"subject": name} for name in config.subjects]
    timed = functools.partial(_timed, config=config)
    return xr.merge(
        [
            cures,
            gather(patients, sweep(patients, _judged)),
            gather(subjects, sweep(subjects, timed)),
        ]
    )


def _judged(point: Any) -> xr.Dataset:
    with jax.numpy_dtype_promotion("standard"):  # Flax's attention and norms mix dtypes
        judgements = judged(point["patient"])
    states = [*HEALTHY, *(f"fault {i + 1}" for i in range(_MOST_FAULTS))]
    right, kind = np.full(len(states), np.nan), np.full(len(states), np.nan)
    for place, judgement in enumerate(judgements):
        right[place] = float(judgement.is_right)
        if judgement.found is not None:
            kind[place] = KINDS.index(judgement.found.kind)
    return xr.Dataset(
        {"right": ("state", right), "kind": ("state", kind)}, coords={"state": states}
    )


def _timed(point: Any, config: Config) -> xr.Dataset:
    with jax.numpy_dtype_promotion("standard"):
        return price(point["subject"], config.rounds, seed=0)


def _point(point: Any, config: Config, key: Array) -> xr.Dataset:
    name = point["model"]
    train, test = split_digits(key)
    model = deep(name, config) if name in DEEP else gated(config)
    loss_fn = sigjax.stabilize(loss) if name == NARROW[1] else loss
    gates = name in NARROW
    rate = config.gate_learning_rate if gates else config.learning_rate
    with jax.numpy_dtype_promotion("standard"):
        report = diagnose(model, loss_fn, Batch(*(x[: config.batch] for x in train)))
        losses, accuracy = _train(model, loss_fn, rate, train, test, config, key, gates_alone=gates)
    rows = report.rows
    chain = [row.log10_gradient for row in rows]
    rate_a_layer = 10 ** ((chain[0] - chain[-2]) / (len(chain) - 2)) if len(chain) > 2 else np.nan
    layers = np.arange(1, len(rows) + 1)
    return xr.Dataset(
        {
            "log10_gradient": ("layer", np.array(chain)),
            "saturated": ("layer", np.array([row.saturated for row in rows])),
            "rate": float(rate_a_layer),
            "vanishing": float(any(one.kind == "vanishing" for one in report.findings)),
            "hidden_parameter_gradient": float(rows[0].log10_parameter_gradient),
            "loss": ("step", losses),
            "accuracy": accuracy,
        },
        coords={"layer": layers, "step": np.arange(config.steps)},
    )


def _train(
    model: nnx.Sequential,
    loss_fn: Callable[..., Array],
    rate: float,
    train: Batch,
    test: Batch,
    config: Config,
    key: Array,
    *,
    gates_alone: bool,
) -> tuple[np.ndarray, float]:
    split: Any = nnx.split(model, nnx.Param, ...)
    graph, parameters, rest = split
    optimizer = optax.adam(rate)

    def at(parameters: Any) -> nnx.Sequential:
        if gates_alone:  # the readout stays as it is, so that only gates can learn
            parameters = jax.tree_util.tree_map_with_path(
                lambda path, leaf: leaf if path[1].key == 0 else lax.stop_gradient(leaf), parameters
            )
        return nnx.merge(graph, parameters, rest, copy=True)

    @jax.jit
    def run(parameters: Any) -> tuple[Any, Array]:
        def step(state: Any, key: Array) -> tuple[Any, Array]:
            parameters, moments = state
            chosen = jax.random.choice(key, len(train.labels), (config.batch,), replace=False)
            batch = Batch(train.inputs[chosen], train.labels[chosen])
            value, gradient = jax.value_and_grad(lambda p: loss_fn(at(p), batch))(parameters)
            updates, moments = optimizer.update(gradient, moments)
            return (optax.apply_updates(parameters, updates), moments), value

        state = parameters, optimizer.init(parameters)
        (parameters, _), losses = lax.scan(step, state, jax.random.split(key, config.steps))
        return parameters, losses

    trained, losses = run(parameters)
    logits = at(trained)(test.inputs)
    accuracy = jnp.mean((jnp.argmax(logits, -1) == test.labels).astype(jnp.float32))
    return np.asarray(losses, np.float64), float(accuracy)


def claims(dataset: xr.Dataset) -> list[Claim]:
    """The verdict, and that training bears it out."""
    dying, cured = (dataset.sel(model=name) for name in DEEP)
    dead, alive = (dataset.sel(model=name) for name in NARROW)
    rate = float(mean_field(sigjax.sigmoid, 1.0).chi1) ** 0.5
    probe, training = "sigjax.probe.diagnose", "training on digits"
    return [
        Claim(
            name="logistic: growth of the gradient a layer, measured by the probe",
            source="sqrt(chi_1), Schoenholz et al. 2017",
            expected=rate,
            measured=float(dying["rate"]),
            tolerance=0.01,
            kind="statistical",
            relative=True,
        ),
        _bound("logistic: verdict of vanishing", probe, 1.0, float(dying["vanishing"]), ">="),
        _bound("critical tanh: verdict of vanishing", probe, 0.0, float(cured["vanishing"]), "<="),
        _bound("logistic: accuracy", training, 0.3, float(dying["accuracy"]), "<="),
        _bound("critical tanh: accuracy", training, 0.9, float(cured["accuracy"]), ">="),
        _bound(
            "bfloat16 gates at 8, jax.nn: log10 of the gradient of their parameters",
            "ans * (1 - ans) = 0 where ans rounds to 1",
            -np.inf,
            float(dead["hidden_parameter_gradient"]),
            "<=",
        ),
        _bound(
            "the same, stabilized: log10 of the gradient of their parameters",
            "sigma'(8) = 3.4e-4",
            -6.0,
            float(alive["hidden_parameter_gradient"]),
            ">=",
        ),
        _bound(
            "gates: accuracy of the stabilized model less the other's",
            training,
            0.5,
            float(alive["accuracy"] - dead["accuracy"]),
            ">=",
        ),
        *_judgements(dataset),
        *_prices(dataset),
    ]


def _judgements(dataset: xr.Dataset) -> list[Claim]:
    """Every architecture is judged right, in every state that it has."""
    right = dataset["right"]
    healthy, broken = right.sel(state=list(HEALTHY)), right.drop_sel(state=list(HEALTHY))
    return [
        Claim(
            name=f"{len(dataset['patient'])} architectures, {what}: share judged right",
            source="sigjax.probe.diagnose",
            expected=1.0,
            measured=float(part.mean()),
            kind="exact",
        )
        for what, part in (("healthy", healthy), ("with faults", broken))
    ]


def _prices(dataset: xr.Dataset) -> list[Claim]:
    """Times beside the gradient's own: aims, since they are the machine's as well."""
    own = dataset.sel(what="gradient")
    found = []
    for name in dataset["subject"].values:
        for what, moment, aim in _AIMS:
            one = dataset.sel(what=what, subject=name)[f"{moment}_seconds"]
            times = float(one / own.sel(subject=name)[f"{moment}_seconds"])
            title = f"{name}: {moment} call, {what} over gradient"
            found.append(reported(title, "aim of this project", times, aim=aim, relation="<="))
    return found


def _bound(name: str, source: str, expected: float, measured: float, relation: Any) -> Claim:
    return Claim(name, source, expected, measured, kind="qualitative", relation=relation)


def plot(dataset: xr.Dataset) -> Figure:
    """Gradient profiles and learning curves; findings on architectures; prices."""
    patients = len(dataset["patient"])
    figure = plt.figure(figsize=(14, 7 + 0.35 * patients), layout="constrained")
    parts: Any = figure.subfigures(2, height_ratios=(4.2, 2.8 + 0.35 * patients))
    above, below = parts
    _cures(above, dataset)
    table, cost = below.subplots(1, 2, width_ratios=(3, 1))
    _findings(table, dataset)
    _costs(cost, dataset)
    return figure


def _cures(figure: Any, dataset: xr.Dataset) -> None:
    profile, training, gates = figure.subplots(1, 3)
    for name in DEEP:
        one = dataset.sel(model=name)
        rate = float(one["rate"])
        label = f"{name} (×{rate:.2f} a layer)"
        profile.plot(dataset["layer"], one["log10_gradient"], "o-", markersize=3, label=label)
        training.plot(dataset["step"], one["loss"], label=name)
    profile.set_xlabel("layer, from input to output")
    profile.set_ylabel("log10 norm of the gradient at its output (1)")
    profile.set_title("what the probe sees")
    for name in NARROW:
        one = dataset.sel(model=name)
        gates.plot(dataset["step"], one["loss"], label=name)
    training.set_title("deep networks")
    gates.set_title("bfloat16 gates: one line")
    for axis in (training, gates):
        axis.set_xlabel("step of training")
        axis.set_ylabel("cross-entropy (nats)")
        axis.set_ylim(bottom=0)
    for axis in (profile, training, gates):
        axis.legend()


def _findings(axis: Any, dataset: xr.Dataset) -> None:
    """A row for each architecture, a column for each state: the kind of the first finding."""
    right = dataset["right"].transpose("patient", "state").values
    axis.imshow(right, vmin=0, vmax=1, cmap="RdYlGn", alpha=0.35, aspect="auto")
    kinds = dataset["kind"].transpose("patient", "state").values
    for row, column in np.ndindex(right.shape):
        if np.isfinite(right[row, column]):
            kind = kinds[row, column]
            text = KINDS[int(kind)] if np.isfinite(kind) else "healthy"
            axis.text(column, row, text, ha="center", va="center", fontsize=7)
    axis.set_xticks(range(right.shape[1]), dataset["state"].values)
    axis.set_yticks(range(right.shape[0]), dataset["patient"].values)
    axis.set_title("first finding (green: right kind, at the right layer)")


def _costs(axis: Any, dataset: xr.Dataset) -> None:
    own = dataset.sel(what="gradient")
    labels, times = [], []
    for name in dataset["subject"].values:
        for what, moment, aim in _AIMS:
            one = dataset.sel(what=what, subject=name)[f"{moment}_seconds"]
            times.append(float(one / own.sel(subject=name)[f"{moment}_seconds"]))
            labels.append(f"{name}\n{what}, {moment} call (aim {aim:g})")
    colours = [f"C{i % len(_AIMS)}" for i in range(len(times))]
    bars = axis.barh(range(len(times)), times, color=colours)
    axis.bar_label(bars, fmt="×%.2f", padding=2, fontsize=8)
    axis.axvline(1, color="black", linestyle="--", linewidth=1)
    axis.set_xlim(0, 1.25 * max(times))
    axis.set_yticks(range(len(times)), labels, fontsize=8)
    axis.invert_yaxis()
    axis.set_xlabel("time over the gradient's alone (1)")
    axis.set_title("what it costs")
