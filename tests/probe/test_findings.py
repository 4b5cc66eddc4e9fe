"""Kinds of findings on the smallest programs that have them, with numbers known beforehand."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sigjax.probe import diagnose
from tests.draws import normal

WIDTH = 64
X = normal(0, (16, WIDTH))


def orthogonal(count, gain=1.0):
    """Kernels that keep norms, times a gain."""
    make = jax.nn.initializers.orthogonal(gain)
    return {
        f"layer_{i:02}": make(jax.random.key(i), (WIDTH, WIDTH), jnp.float32) for i in range(count)
    }


def linear(weights, x):
    for w in weights.values():
        x = x @ w
    return jnp.mean(x**2)


def found(*arguments):
    return [(f.kind, f.layers[0]) for f in diagnose(*arguments).findings]


@pytest.mark.parametrize(("gain", "kind"), [(0.5, "vanishing"), (1.0, None), (2.0, "exploding")])
def test_a_steady_rate_is_the_gain(gain, kind):
    """Of orthogonal linear layers: the gradient is multiplied by it at each, exactly."""
    weights = orthogonal(11, gain)
    findings = diagnose(weights, linear, X).findings
    assert [f.kind for f in findings] == [kind] * (kind is not None)
    if kind:
        assert findings[0].layers == tuple(weights)
        assert f"each layer multiplies it by {gain:g}" in findings[0].text
        (whole,) = re.findall(r"x([\d.e+-]+) from layer_10 to layer_00", findings[0].text)
        np.testing.assert_allclose(float(whole), gain**10, rtol=0.05)


def test_two_odd_layers_are_two_findings_and_no_rate():
    weights = orthogonal(8)
    for name, factor in (("layer_02", 1e-4), ("layer_05", 1e4)):
        weights[name] = weights[name] * factor
    assert sorted(found(weights, linear, X)) == [("jump", "layer_02"), ("jump", "layer_05")]


def test_the_first_place_that_is_not_finite():
    """In the batch; in a parameter; forwards before backwards; a slope alone."""
    weights = orthogonal(4)
    assert found(weights, linear, X.at[3, 5].set(jnp.inf)) == [("not_finite", "batch")]
    spoilt = weights | {"layer_02": weights["layer_02"].at[0, 0].set(jnp.nan)}
    assert found(spoilt, linear, X) == [("not_finite", "layer_02")]

    def log_of_negative(w, x):
        hidden = jnp.log(x @ w["layer_00"])
        return jnp.mean((hidden @ w["layer_01"]) ** 2)

    (finding,) = diagnose(weights, log_of_negative, X).findings
    assert (finding.kind, finding.layers[0]) == ("not_finite", "layer_00")
    assert "log of 0 or of a negative number" in finding.text

    def hidden_root(w, x):
        hidden = x @ w["layer_00"]
        root = jnp.where(hidden > 0, jnp.sqrt(hidden), 0)
        return jnp.mean((root @ w["layer_01"]) ** 2)

    report = diagnose(weights, hidden_root, X)
    assert np.isfinite(report.loss)
    (finding,) = report.findings
    assert (finding.kind, finding.layers[0]) == ("not_finite", "layer_00")
    assert "sqrt at 0" in finding.text
    assert "Mask the input" in finding.remedy


def half(weights, x, scale):
    x = x.astype(jnp.float16)
    for w in weights.values():
        x = x @ w.astype(jnp.float16)
    return scale * jnp.mean(x.astype(jnp.float32) ** 2)


def test_float16_overflows_and_loses_small_gradients():
    weights = orthogonal(2)
    assert found(weights, half, X * 1e5, 1.0)[0][0] == "not_finite"
    (finding,) = diagnose(weights, half, X * 1e-2, 1.0).findings
    assert finding.kind == "underflow"
    (power,) = re.findall(r"Multiply the loss by 2\^(\d+)", finding.remedy)
    assert found(weights, half, X * 1e-2, 2.0 ** int(power)) == []


def test_what_nobody_can_look_into_is_said():
    """A loop of unknown length has no gradient, and no numbers of its layers but the weights'."""

    def loss(w, x):
        def step(state):
            return state[0] + 1, jnp.tanh(state[1] @ w["layer_00"])

        inner = jax.lax.while_loop(lambda s: s[0] < 3, step, (0, jax.lax.stop_gradient(x)))[1]
        return jnp.mean((jax.lax.stop_gradient(inner) @ w["layer_01"]) ** 2)

    report = diagnose(orthogonal(2), loss, X)
    assert "No one can look inside what calls layer_00" in report.verdict
    row = next(row for row in report.rows if row.name == "layer_00")
    assert np.isnan(row.log10_gradient)
    np.testing.assert_allclose(row.log10_parameter, np.log10(WIDTH) / 2, atol=1e-6)
