r"""A sigmoid bolted on to a classifier: what its scores become, and with how few examples.

Figure: reliability of a support vector machine before and after Platt's sigmoid, on breast cancer
and on pairs of digits; held-out log-loss; Platt against isotonic regression by the number of
examples for calibration; temperatures recovered. Platt 1999; Lin, Lin & Weng 2007; Niculescu-Mizil
& Caruana 2005; Guo et al. 2017.

    python -m experiments run platt_scaling

Time on 2 CPU cores: quick 10 s, paper 30 s. Must show: log-loss and calibration error of held-out
examples fall; below some hundred examples Platt beats isotonic regression, and where the scores'
distortion is no sigmoid a thousand turn the order; a temperature is recovered to 5 %.
"""

import dataclasses
import functools
import itertools
from collections.abc import Mapping
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from jax import Array
from matplotlib.figure import Figure
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import cross_val_predict
from sklearn.svm import SVC

import sigjax
from experiments.datasets.tables import Split, breast_cancer, digit_pair
from experiments.harness import Claim, Settings, Within, over_devices
from experiments.harness.settings import wrong_value
from experiments.harness.style import COLOURS
from sigjax.calibration import (
    expected_calibration_error,
    fit_platt,
    fit_temperature,
    reliability_curve,
)
from sigjax.losses import sigmoid_binary_cross_entropy

from ._distortions import DISTORTIONS

# Niculescu-Mizil & Caruana's: 32 to 8192.
SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
TEMPERATURES = (0.25, 0.5, 1.0, 2.0, 4.0)
CLASSES = 10
FOLDS = 5
STAGES = ("before", "after")
# Of scores 5, -4, 1 with labels 1, 0, 0: libsvm's output in scikit-learn's tests.
LIBSVM = {"A": -0.20261354391187855, "B": 0.65236314980010512}


@dataclasses.dataclass(frozen=True)
class Config(Settings):
    """Problems of the machine, and repeats of the comparison."""

    pairs: Annotated[int, Within(1, 45)] = 45
    """Pairs of digits, of 45."""
    splits: int = 10
    """Ways to split breast cancer into halves."""
    kernel: str = "linear"
    """Kernel of the support vector machine: linear, rbf or poly."""
    repeats: int = 40
    """Calibration sets drawn of each size."""
    logits: int = 10_000
    """Examples on which a temperature is fitted."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kernel not in ("linear", "rbf", "poly"):
            raise wrong_value("kernel", "linear, rbf or poly", self.kernel)

    @classmethod
    def quick(cls) -> "Config":
        """All pairs, 40 calibration sets of each size."""
        return cls()

    @classmethod
    def paper(cls) -> "Config":
        """400 calibration sets of each size, 100 splits."""
        return cls(splits=100, repeats=400)


def _machine_scores(data: Split, kernel: str) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the training half, each by a machine that did not see it, and of the test."""
    machine = SVC(kernel=kernel)
    inner = cross_val_predict(
        machine, data.train_inputs, data.train_labels, cv=FOLDS, method="decision_function"
    )
    machine.fit(data.train_inputs, data.train_labels)
    return inner, machine.decision_function(data.test_inputs)


def _machine(config: Config, key: Array) -> xr.Dataset:
    """Log-odds before (the score itself) and after Platt's sigmoid, of all held-out examples."""
    pairs = list(itertools.combinations(range(10), 2))[: config.pairs]
    problems = [
        ("breast cancer", breast_cancer(jax.random.fold_in(key, split), 0.5))
        for split in range(config.splits)
    ]
    problems += [
        ("pairs of digits", digit_pair(*pair, jax.random.fold_in(key, 1000 + index), 0.5))
        for index, pair in enumerate(pairs)
    ]
    scores = [_machine_scores(data, config.kernel) for _, data in problems]
    # Problems differ in size: examples of weight 0 make one shape of all, and one call of the fits.
    size = max(len(inner) for inner, _ in scores)
    inner, labels, weights = np.zeros((3, len(problems), size), np.float32)
    for row, ((own, _), (_, data)) in enumerate(zip(scores, problems, strict=True)):
        inner[row, : len(own)], labels[row, : len(own)] = own, data.train_labels
        weights[row, : len(own)] = 1
    fitted = jax.vmap(lambda s, y, w: fit_platt(s, y, weights=w))(inner, labels, weights)
    before = [outer for _, outer in scores]
    after = [
        -(float(a) * outer + float(b))
        for outer, a, b in zip(before, fitted.a, fitted.b, strict=True)
    ]
    names = np.repeat([name for name, _ in problems], [len(outer) for outer in before])
    return xr.Dataset(
        {
            "logit": (
                ("stage", "example"),
                np.stack([np.concatenate(before), np.concatenate(after)]),
            ),
            "label": ("example", np.concatenate([data.test_labels for _, data in problems])),
        },
        coords={"stage": list(STAGES), "problem": ("example", names)},
    )


def _comparison(config: Config, key: Array) -> xr.Dataset:
    """Mean squared distance of either calibration from the true probability."""
    tests = jnp.linspace(-3.0, 3.0, 601)
    density = np.exp(-(np.linspace(-3.0, 3.0, 601) ** 2) / 2)
    density /= density.sum()

    def draw(distortion: str, key: Array, size: Array) -> tuple[Array, Array, Array]:
        for_scores, for_labels = jax.random.split(key)
        scores = jax.random.normal(for_scores, SIZES[-1:])
        labels = jax.random.bernoulli(for_labels, DISTORTIONS[distortion](scores))
        # The first `size` of them count: one compiled function serves all sizes.
        weights = (jnp.arange(SIZES[-1]) < size).astype(scores.dtype)
        return scores, labels, fit_platt(scores, labels, weights=weights)(tests)

    draws = {distortion: functools.partial(draw, distortion) for distortion in DISTORTIONS}
    found = []
    for distortion, size in itertools.product(DISTORTIONS, SIZES):
        truth = np.asarray(DISTORTIONS[distortion](tests), np.float64)
        keys = jax.random.split(jax.random.fold_in(key, size), config.repeats)
        drawn = over_devices(draws[distortion], keys, jnp.int32(size), in_axes=(0, None))
        scores, labels, platt = (np.asarray(each, np.float64) for each in drawn)
        isotonic = [
            IsotonicRegression(y_min=0, y_max=1, out_of_bounds="clip").fit(s, y).predict(tests)
            for s, y in zip(scores[:, :size], labels[:, :size], strict=True)
        ]
        for values in (platt, np.array(isotonic, np.float64)):
            found.append(np.sum(density * (values - truth) ** 2, axis=1))
    shape = (len(DISTORTIONS), len(SIZES), 2, config.repeats)
    return xr.Dataset(
        {"distance": (("distortion", "size", "calibrator", "repeat"), np.reshape(found, shape))},
        coords={
            "distortion": list(DISTORTIONS),
            "size": list(SIZES),
            "calibrator": ["Platt", "isotonic"],
        },
    )


def _temperatures(config: Config, key: Array) -> xr.Dataset:
    """Logits made sharper or flatter by a known factor, which is to be found."""
    for_logits, for_labels = jax.random.split(key)
    true = 2 * jax.random.normal(for_logits, (config.logits, CLASSES))
    labels = jax.random.categorical(for_labels, true)
    rows: dict[str, list[float]] = {name: [] for name in ("found", "changed", "before", "after")}
    for temperature in TEMPERATURES:
        logits = temperature * true
        scaling = fit_temperature(logits, labels)
        moved = jnp.argmax(scaling.logits(logits), axis=-1) != jnp.argmax(logits, axis=-1)
        rows["found"].append(float(scaling.temperature))
        rows["changed"].append(float(jnp.sum(moved)))
        plain = jax.nn.softmax(logits, axis=-1)
        rows["before"].append(float(expected_calibration_error(plain, labels)))
        rows["after"].append(float(expected_calibration_error(scaling(logits), labels)))
    return xr.Dataset(
        {f"temperature_{name}": ("temperature", values) for name, values in rows.items()},
        coords={"temperature": list(TEMPERATURES)},
    )


def measure(config: Config, key: Array) -> xr.Dataset:
    """The three parts, each with draws of its own."""
    keys = jax.random.split(key, 3)
    parts = (_machine, _comparison, _temperatures)
    found = [part(config, each) for part, each in zip(parts, keys, strict=True)]
    return xr.merge([*found, _small_fit()])


def _small_fit() -> xr.Dataset:
    """The example that libsvm's A and B are known of."""
    with jax.enable_x64(True):
        platt = fit_platt(np.array([5.0, -4.0, 1.0]), np.array([1, 0, 0]))
    fitted = np.array([platt.a, platt.b], np.float64)
    return xr.Dataset({"small_fit": ("parameter", fitted)}, coords={"parameter": list(LIBSVM)})


def _held_out(part: xr.Dataset) -> Mapping[str, tuple[float, float]]:
    """Log-loss and calibration error before and after."""
    labels = jnp.asarray(part["label"].values, jnp.int32)
    found = {}
    for stage in STAGES:
        logits = jnp.asarray(part["logit"].sel(stage=stage).values, jnp.float32)
        loss = float(jnp.mean(sigmoid_binary_cross_entropy(logits, labels)))
        error = float(expected_calibration_error(sigjax.sigmoid(logits), labels))
        found[stage] = (loss, error)
    return found


def _problems(dataset: xr.Dataset) -> dict[str, xr.Dataset]:
    names = dict.fromkeys(dataset["problem"].values.tolist())
    return {name: dataset.isel(example=dataset["problem"].values == name) for name in names}


def claims(dataset: xr.Dataset) -> list[Claim]:
    """What the sigmoid mends, when isotonic regression is better, and temperatures."""
    return [*_of_platt(dataset), *_of_isotonic(dataset), *_of_temperatures(dataset)]


def _of_platt(dataset: xr.Dataset) -> list[Claim]:
    """The published fit, and what it mends of real scores."""
    found = [
        Claim(
            name=f"scores 5, -4, 1 of labels 1, 0, 0: Platt's {name}",
            source="libsvm's output; Lin, Lin & Weng 2007",
            expected=expected,
            measured=float(dataset["small_fit"].sel(parameter=name)),
            tolerance=1e-9,
            kind="exact",
        )
        for name, expected in LIBSVM.items()
    ]
    for name, part in _problems(dataset).items():
        held = _held_out(part)
        for index, word in enumerate(("log-loss, nat", "calibration error")):
            found.append(
                Claim(
                    name=f"{name}: held-out {word} with Platt's sigmoid, over that of the score",
                    source="Platt 1999; Niculescu-Mizil & Caruana 2005",
                    expected=1.0,
                    measured=held["after"][index] / held["before"][index],
                    kind="statistical",
                    relation="<=",
                )
            )
    return found


def _of_isotonic(dataset: xr.Dataset) -> list[Claim]:
    """Few cases ask for a sigmoid; many, and another shape, for isotonic regression."""
    distance = dataset["distance"].mean("repeat")
    ratio = distance.sel(calibrator="isotonic") / distance.sel(calibrator="Platt")
    source = "Niculescu-Mizil & Caruana 2005: Platt below 200 to 1000 cases"
    found = []
    for distortion in DISTORTIONS:
        small = ratio.sel(distortion=distortion).sel(size=[size for size in SIZES if size < 200])
        claim = Claim(
            name=f"{distortion}: isotonic over Platt's squared error, least below 200 cases",
            source=source,
            expected=1.0,
            measured=float(small.min()),
            kind="statistical",
            relation=">=",
        )
        found.append(claim if distortion == "sigmoid" else claim.for_information())
    large = ratio.sel(distortion="two steps", size=[size for size in SIZES if size >= 1000])
    found.append(
        Claim(
            name="two steps: isotonic over Platt's squared error, most from 1000 cases on",
            source="the same: isotonic is as good or better, where the shape is no sigmoid",
            expected=1.0,
            measured=float(large.max()),
            kind="statistical",
            relation="<=",
        )
    )
    return found


def _of_temperatures(dataset: xr.Dataset) -> list[Claim]:
    """One number undoes one factor, and changes no answer."""
    found = []
    for temperature in TEMPERATURES:
        part = dataset.sel(temperature=temperature)
        found.append(
            Claim(
                name=f"logits times {temperature:g}: temperature found",
                source="Guo et al. 2017: one number undoes one factor",
                expected=temperature,
                measured=float(part["temperature_found"]),
                tolerance=0.05,
                kind="statistical",
                relative=True,
            )
        )
        if temperature != 1:
            found.append(
                Claim(
                    name=f"logits times {temperature:g}: calibration error after over before",
                    source="Guo et al. 2017, table 1: 16.53 % to 1.26 % (CIFAR-100)",
                    expected=0.1,
                    measured=float(part["temperature_after"] / part["temperature_before"]),
                    kind="statistical",
                    relation="<=",
                )
            )
    found.append(
        Claim(
            name="answers that a temperature changed",
            source="scaling keeps the order of the classes",
            expected=0.0,
            measured=float(dataset["temperature_changed"].sum()),
            kind="exact",
        )
    )
    return found


def plot(dataset: xr.Dataset) -> Figure:
    """Reliability of either problem, sizes for either distortion, temperatures."""
    figure, axes = plt.subplots(2, 3, figsize=(13, 8))
    for axis, (name, part) in zip(axes[0], _problems(dataset).items(), strict=False):
        _plot_reliability(axis, name, part)
    _plot_temperatures(axes[0, 2], dataset)
    for axis, distortion in zip(axes[1], DISTORTIONS, strict=False):
        distance = dataset["distance"].sel(distortion=distortion)
        for calibrator in distance["calibrator"].values:
            values = distance.sel(calibrator=calibrator)
            low, high = values.quantile((0.1, 0.9), "repeat").values
            line = axis.plot(values["size"], values.mean("repeat"), "o-", label=str(calibrator))
            axis.fill_between(
                values["size"],
                low,
                high,
                color=line[0].get_color(),
                alpha=0.2,
                linewidth=0,
            )
        axis.set_xscale("log", base=2)
        axis.set_yscale("log")
        axis.set_xlabel("examples for calibration (1)")
        axis.set_ylabel("squared distance from the truth (1)")
        axis.set_title(f"distorted by {'a sigmoid' if distortion == 'sigmoid' else distortion}")
        axis.legend(title="mean; 10 % to 90 %")
    _plot_shapes(axes[1, 2])
    return figure


def _plot_reliability(axis: Any, name: str, part: xr.Dataset) -> None:
    labels = part["label"].values
    axis.plot([0, 1], [0, 1], color="0.5", linewidth=1)
    held = _held_out(part)
    for stage, colour in zip(STAGES, (COLOURS[1], COLOURS[0]), strict=True):
        logits = jnp.asarray(part["logit"].sel(stage=stage).values, jnp.float32)
        seen = reliability_curve(sigjax.sigmoid(logits), labels, bins=10)
        frequency = np.asarray(seen.frequency)
        spread = np.stack([frequency - seen.low, seen.high - frequency])
        loss, error = held[stage]
        axis.errorbar(
            np.asarray(seen.probability),
            frequency,
            np.maximum(spread, 0),
            fmt="o-",
            color=colour,
            markersize=4,
            capsize=2,
            label=f"{stage}: log-loss {loss:.3f}, ECE {error:.3f}",
        )
    axis.set_xlabel("forecast probability (1)")
    axis.set_ylabel("observed frequency, 95 % (1)")
    axis.set_title(f"{name}: SVM scores, Platt's sigmoid")
    axis.set_ylim(top=1.25)  # room for the legend
    axis.legend(loc="upper left")


def _plot_temperatures(axis: Any, dataset: xr.Dataset) -> None:
    sizes = np.arange(len(TEMPERATURES))
    for shift, stage, colour in ((-0.2, "before", COLOURS[1]), (0.2, "after", COLOURS[0])):
        axis.bar(sizes + shift, dataset[f"temperature_{stage}"], 0.4, color=colour, label=stage)
    labels = [
        f"{true:g}\n({found:.3f})"
        for true, found in zip(TEMPERATURES, dataset["temperature_found"].values, strict=True)
    ]
    axis.set_xticks(sizes, labels)
    axis.set_xlabel("factor on the logits (temperature found)")
    axis.set_ylabel("expected calibration error (1)")
    axis.set_title("one temperature undoes one factor")
    axis.legend()


def _plot_shapes(axis: Any) -> None:
    scores = jnp.linspace(-3.0, 3.0, 301)
    for distortion, truth in DISTORTIONS.items():
        axis.plot(scores, truth(scores), label=distortion)
    axis.set_xlabel("score (1)")
    axis.set_ylabel("true probability (1)")
    axis.set_title("the two distortions")
    axis.legend()
