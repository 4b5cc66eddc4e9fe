r"""A sigmoid bolted on to a classifier: what its scores become, and with how few examples.

Figure: reliability of a support vector machine before and after Platt's sigmoid, on breast cancer
and on pairs of digits; held-out log-loss; Platt against isotonic regression by the number of
examples for calibration; temperatures recovered. Platt 1999; Lin, Lin & Weng 2007; Niculescu-Mizil
& Caruana 2005; Guo et al. 2017.

    python -m experiments run platt_scaling

Time on 2 CPU cores: quick 10 s, paper 30 s. Must show: log-loss and calibration error of held-out
examples fall; below some hundred examples Platt beats isotonic regression, and from a thousand on
isotonic regression beats Platt where the scores' distortion is no sigmoid; a temperature is
recovered to 5 %.
"""

import dataclasses
from typing import Annotated

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from jax import Array

from experiments.harness import Claim, Settings, Within
from experiments.harness.settings import wrong_value
from sigjax.calibration import expected_calibration_error, fit_platt, fit_temperature

from ._by_examples import SIZES, compare
from ._calibration_panels import plot as plot
from ._distortions import DISTORTIONS
from ._machine_scores import held_out, log_odds, problems_of

TEMPERATURES = (0.25, 0.5, 1.0, 2.0, 4.0)
CLASSES = 10
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


def measure(config: Config, key: Array) -> xr.Dataset:
    """The parts, each with draws of its own."""
    for_splits, for_examples, for_logits = jax.random.split(key, 3)
    return xr.merge(
        [
            log_odds(for_splits, pairs=config.pairs, splits=config.splits, kernel=config.kernel),
            compare(for_examples, repeats=config.repeats),
            _temperatures(config, for_logits),
            _small_fit(),
        ]
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


def _small_fit() -> xr.Dataset:
    """The example that libsvm's A and B are known of."""
    with jax.enable_x64(True):
        platt = fit_platt(np.array([5.0, -4.0, 1.0]), np.array([1, 0, 0]))
    fitted = np.array([platt.a, platt.b], np.float64)
    return xr.Dataset({"small_fit": ("parameter", fitted)}, coords={"parameter": list(LIBSVM)})


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
    for name, part in problems_of(dataset).items():
        held = held_out(part)
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
