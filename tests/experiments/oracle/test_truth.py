"""The float64 truths against mpmath, to a relative 1e-12, on numbers of 32 bits."""

import jax
import mpmath as mp
import numpy as np
import pytest

from experiments.oracle.reference import REFERENCES
from experiments.oracle.truth import TRUTHS

UNIT = ("logit", "cloglog")
POSITIVE = ("log1mexp", "softplus_inverse")
NEGATIVE = ("logitexp", "logit1mexp")
# Where a value or a derivative passes through 0 at a number that no format holds.
ROOTS = {
    "silu": (1.2784645427610738, -1.2784645427610738, 2.3993572805154677, -2.3993572805154677),
    "softplus_inverse": (0.6931471805599453,),
    "logitexp": (-0.6931471805599453,),
    "logit1mexp": (-0.6931471805599453,),
    "cloglog": (0.6321205588285577,),
}


def inputs(name):
    """Float32 numbers over all exponents at which something happens, and next to the roots."""
    generator = np.random.default_rng(0)
    size = 10.0 ** generator.uniform(-37, 3, 150)
    moderate = generator.uniform(0, 20, 100)
    if name in UNIT:
        high, centre = 1 - 2.0 ** -generator.uniform(1, 24, 50), 0.5 + size[size < 0.4]
        spread = np.concatenate([size[size < 1], generator.uniform(0, 1, 150), high, centre])
    else:
        spread = np.concatenate([size, moderate])
        if name not in POSITIVE:
            spread = -spread if name in NEGATIVE else np.concatenate([spread, -spread])
    spread = spread.astype(np.float32)
    near = [np.float32(root) for root in ROOTS.get(name, ())]
    for _ in range(3):
        near += [np.nextafter(x, np.float32(np.inf)) for x in near[-1:]]
    for root in ROOTS.get(name, ()):
        near += [np.float32(root * (1 + step)) for step in (-0.07, -1e-3, -1e-6, 1e-5, 1e-2, 0.049)]
    values = np.unique(np.concatenate([spread, np.array(near, np.float32)])).astype(np.float64)
    return values[(values > 0) & (values < 1)] if name in UNIT else values


@pytest.mark.sampled(2)
@pytest.mark.parametrize(
    ("name", "order"), [(name, order) for name in TRUTHS for order in range(len(TRUTHS[name]))]
)
def test_against_mpmath(name, order):
    x = inputs(name)
    with jax.enable_x64(True):
        truth = np.asarray(jax.jit(TRUTHS[name][order])(x))
    checked = 0
    with mp.workdps(80):
        for argument, value in zip(x.tolist(), truth.tolist(), strict=True):
            exact = REFERENCES[name][order](mp.mpf(argument))
            if abs(exact) < mp.mpf(2) ** -160:  # far below the smallest number of 32 bits
                assert abs(value) < 2.0**-159
            else:
                assert abs(value - exact) <= 1e-12 * abs(exact), argument
                checked += 1
    assert checked > 50 or (name in ("sigmoid_linear", "hard_sigmoid") and order > 0)
