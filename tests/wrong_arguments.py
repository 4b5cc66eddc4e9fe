"""Calls every public function with what it cannot take, and prints where no error says so.

A program, run by test_fuzz.py: users have no runtime type checks, and the suite has.
"""

import functools
import inspect
import re
import sys
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import sigjax
from sigjax import calibration, dynamics, functional, initializers, losses, probe, theory

Z, Y, P = jnp.array([1.0, -2.0, 0.5]), jnp.array([1.0, 0.0, 1.0]), jnp.array([0.2, 0.4, 0.9])
SQUARE = jnp.eye(3)
DEEP = {"activation": jnp.tanh, "weight_std": 1.5}

# Every argument that has a right value here is then given wrong ones.
RIGHT: dict[Any, dict[str, Any]] = {
    losses.sigmoid_binary_cross_entropy: {
        "logits": Z, "labels": Y, "pos_weight": 2.0, "label_smoothing": 0.1, "where": Y > 0,
        "axis": 0,
    },
    losses.sigmoid_focal_loss: {"logits": Z, "labels": Y, "alpha": 0.25, "gamma": 2.0},
    losses.sigmoid_pairwise_loss: {
        "image": SQUARE, "text": SQUARE, "temperature": 2.0, "bias": -1.0, "chunk_size": 1,
        "labels": SQUARE,
    },
    losses.preference_loss: {
        "chosen": Z, "rejected": Y, "beta": 0.1, "margin": 0.5, "label_smoothing": 0.1,
        "where": Y > 0, "axis": 0,
    },
    losses.odds_ratio_preference_loss: {
        "chosen_log_prob": -P, "rejected_log_prob": -Y, "beta": 0.1, "where": Y > 0, "axis": 0
    },
    losses.sequence_log_prob: {
        "logits": SQUARE, "labels": jnp.arange(3), "where": Y > 0
    },
    losses.squared_error_on_sigmoid: {"logits": Z, "labels": Y},
    calibration.fit_platt: {"scores": Z, "labels": Y, "weights": jnp.ones(3)},
    calibration.fit_temperature: {"logits": 2 * SQUARE, "labels": jnp.arange(3)},
    calibration.reliability_curve: {"probabilities": P, "labels": Y},
    calibration.expected_calibration_error: {"probabilities": P, "labels": Y},
    initializers.prior_bias: {"probability": 0.1},
    initializers.chrono: {"max_time": 100, "min_time": 2},
    initializers.critical: {"activation": jnp.tanh, "bias_std": 0.1},
    initializers.orthogonal_gain: {"activation": jnp.tanh, "bias_std": 0.1},
    theory.mean_field: DEEP | {"bias_std": 0.1},
    theory.critical_weight_std: {"activation": jnp.tanh, "bias_std": 0.1},
    theory.critical_line: {"activation": jnp.tanh, "q": 0.1},
    theory.gradient_profile: DEEP | {"bias_std": 0.1, "depth": 5},
    theory.jacobian_moments: DEEP | {"q": 0.5, "depth": 5},
    theory.jacobian_density: DEEP | {"q": 0.5, "singular_values": Y, "depth": 5},
    theory.sigmoid_gradient_bound: {"weight_norms": P},
    theory.saxe_curve: {"time": P, "singular_value": 1.0, "initial": 0.1, "time_constant": 1.0},
    theory.saxe_half_time: {"singular_value": 1.0, "initial": 0.1, "time_constant": 1.0},
    theory.gaussian_expectation: {"function": jnp.tanh, "nodes": 10},
    theory.hermite_coefficients: {"function": jnp.tanh},
    dynamics.FlipFlop: {"weight": 6.0, "drive": 3.0, "difference": 0.0, "gain": 1.0},
    dynamics.SleepWake: {"chi": 45.0, "mu": 4.4},
    dynamics.SigmoidJoint: {"inertia": 1.0, "damping": 0.1, "strength": 2.0, "gain": 1.0},
    probe.watch: {"every": 2},
    probe.safe_norm: {"tree": Z},
    sigjax.stabilize: {"fn": jnp.tanh},
}  # fmt: skip
for name in dir(functional):
    function = getattr(functional, name)
    if not name.startswith("_") and callable(function):
        needed = [
            parameter.name
            for parameter in inspect.signature(function).parameters.values()
            if parameter.default is parameter.empty
        ]
        RIGHT[function] = {"low": -1.0, "high": 1.0, "on": 1.0, "off": 0.0}
        RIGHT[function] = {name: RIGHT[function].get(name, 0.5) for name in needed}

WRONG = ("text", 1j, object(), np.array(["x"]), np.array([None]))
MISSHAPEN = jnp.zeros((7, 2, 11))
OF_ANY_SHAPE = ("time", "singular_values")  # with the scalars that stand beside them
OF_COMPLEX_NUMBERS = ("tree",)  # which has a norm


def complaint(function: Any, right: dict[str, Any], name: str, wrong: Any) -> str:
    """What is amiss with what a call with one wrong argument does; nothing if all is well."""
    try:
        result = function(**right | {name: wrong})
    except (TypeError, ValueError) as error:
        said = str(error)
        well = name in said and re.search(r"arguments? '.+' must .+, got ", said, re.DOTALL)
        return "" if well else f"is not said in the one form: {error}"
    except Exception as error:
        return f"raises {type(error).__name__}: {error}"
    return f"gives {result!r}"


def _call(function: Any, arguments: dict[str, Any]) -> None:
    """Without its result: a function, for instance, has no shape."""
    function(**arguments)


def main() -> None:
    """Tries everything."""
    warnings.simplefilter("error")
    calls = 0
    for function, right in RIGHT.items():
        # Must not raise, of constants of a traced function as well; need not be computed.
        jax.eval_shape(functools.partial(_call, function, right))
        for name, value in right.items():
            wrong: tuple[Any, ...] = WRONG
            if isinstance(value, jnp.ndarray) and len(right) > 1 and name not in OF_ANY_SHAPE:
                wrong = (*WRONG, MISSHAPEN)
            if name in OF_COMPLEX_NUMBERS:
                wrong = tuple(one for one in wrong if not isinstance(one, complex))
            for candidate in wrong:
                calls += 1
                found = complaint(function, right, name, candidate)
                if found:
                    shown = str(candidate)[:20]
                    print(f"{function.__name__}, {name}={shown}: {found[:200]}")
    print(f"{calls} calls", file=sys.stderr)


if __name__ == "__main__":
    main()
