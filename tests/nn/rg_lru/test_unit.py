"""First values, refusals, gates that are replaced, weights of RecurrentGemma."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import sigjax.nn as snn
from sigjax.nn._rg_lru._ring import ring
from sigjax.nn._rg_lru._sequence import CHUNK
from tests.nn.rg_lru import reference
from tests.nn.rg_lru.units import Doubled, data, float64, program, unit, weights_of


def test_radii_are_uniform_by_area_in_the_ring():
    draws = 20_000
    draw = jax.jit(ring(0.9, 0.999), static_argnums=1)
    parameter = draw(jax.random.key(0), (draws,))
    radii = np.exp(-np.logaddexp(0, float64(parameter)))
    assert 0.9 <= radii.min() <= radii.max() <= 0.999
    share = (radii**2 - 0.9**2) / (0.999**2 - 0.9**2)
    shares = np.histogram(share, bins=10, range=(0, 1))[0] / draws
    # Seven standard deviations of a tenth of the draws
    np.testing.assert_allclose(shares, 0.1, atol=7 * np.sqrt(0.09 / draws))


def test_first_values_are_the_rings_and_the_variance_that_of_a_block():
    @nnx.jit
    def make():
        return snn.RGLRU(64, num_heads=4, min_radius=0.99, max_radius=0.999_999, rngs=nnx.Rngs(0))

    weights = weights_of(make())
    radii = np.exp(-np.logaddexp(0, weights["a_param"]))
    assert 0.99 <= radii.min() <= radii.max() <= 0.999_999
    kernels = np.stack([weights[gate]["kernel"] for gate in ("a_gate", "input_gate")])
    assert kernels.shape == (2, 4, 16, 16)
    # 1/16, with a relative standard deviation of sqrt(2/2048)
    assert np.var(kernels) == pytest.approx(1 / 16, rel=0.13)


@pytest.mark.parametrize("heads", [0, 3])
def test_heads_that_do_not_divide_the_features_are_refused(heads):
    with pytest.raises(ValueError, match=r"RGLRU: argument 'num_heads' must be a divisor .* 4"):
        snn.RGLRU(4, num_heads=heads, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("radii", [(0, 0.9), (0.9, 0.9), (0.9, 1)])
def test_radii_that_are_no_ring_are_refused(radii):
    with pytest.raises(ValueError, match="0 < min_radius < max_radius < 1, got min_radius=0"):
        snn.RGLRU(4, num_heads=1, min_radius=radii[0], max_radius=radii[1], rngs=nnx.Rngs(0))


def test_inputs_of_other_features_are_refused():
    with pytest.raises(ValueError, match=r"must have 4 features .* \(2, 3, 5\)"):
        snn.RNN(unit())(jnp.ones((2, 3, 5)))


def test_a_gate_that_is_replaced_is_called():
    x, first, _, _ = data(steps=CHUNK * 2)
    cell = unit()
    weights = weights_of(cell)
    cell.a_gate = Doubled(cell.a_gate)
    weights["a_gate"] = jax.tree.map(lambda part: 2 * part, weights["a_gate"])
    run, state = program(cell)
    found, _ = jax.jit(run)(state, jnp.asarray(x, jnp.float32), jnp.asarray(first, jnp.float32))
    expected = reference.states(weights, np.float32(x), first)
    np.testing.assert_allclose(found, expected, atol=5e-6)


def test_weights_of_recurrent_gemma_are_loaded():
    """Google's names in both frameworks, and Hugging Face's."""
    rng = np.random.default_rng(8)
    shapes = {"a_param": (8,)}
    for gate in ("input_gate", "a_gate"):
        shapes |= {f"{gate}.w": (2, 4, 4), f"{gate}.b": (2, 4)}
    google = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    words = {
        ".w": "_weight",
        ".b": "_bias",
        "a_param": "recurrent_param",
        "a_gate": "recurrent_gate",
    }
    theirs = {}
    for name, array in google.items():
        for old, new in words.items():
            name = name.replace(old, new)
        theirs[f"model.layers.0.temporal_block.rg_lru.{name}"] = array
    nested = {"rg_lru": {"a_param": google["a_param"]}}
    for gate in ("input_gate", "a_gate"):
        nested["rg_lru"][gate] = {part: google[f"{gate}.{part}"] for part in "wb"}
    for weights, layout in ((google, "torch"), ({"params": nested}, "linen"), (theirs, "torch")):
        cell = snn.RGLRU(8, num_heads=2, rngs=nnx.Rngs(0))
        snn.load_weights(cell, weights, layout=layout)
        np.testing.assert_array_equal(cell.a_param[...], google["a_param"])
        for name in ("input_gate", "a_gate"):
            gate = getattr(cell, name)
            np.testing.assert_array_equal(gate.kernel[...], google[f"{name}.w"])
            np.testing.assert_array_equal(gate.bias[...], google[f"{name}.b"])


@pytest.mark.parametrize(
    ("replace", "layout", "complaint"),
    [(False, "equinox", "has no name"), (True, "linen", "load the weights before")],
)
def test_what_has_no_names_is_refused(replace, layout, complaint):
    cell = unit()
    if replace:
        cell.a_gate = Doubled(cell.a_gate)
    with pytest.raises(ValueError, match=complaint):
        snn.load_weights(cell, {"a_param": np.ones(4, np.float32)}, layout=layout)
