"""The RG-LRU against NumPy's float64, mpmath, single sequences, and steps by themselves."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from flax import nnx
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import sigjax.nn as snn
from experiments.gates._clipped_rg_lru import clipped_rg_lru
from sigjax.nn._rg_lru import _linear_recurrence as recurrences
from sigjax.nn._rg_lru._forgetting import forgetting, log_scale
from sigjax.nn._rg_lru._ring import ring
from sigjax.nn._rg_lru._sequence import CHUNK
from tests.nn import rg_lru as reference

FEATURES, HEADS, BATCH = 4, 2, 3
LONG = 2 * CHUNK + 7  # two chunks and a rest


@pytest.fixture(autouse=True, scope="module")
def hardly_optimized():
    """To optimise so many small programs takes longer than to run them."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def unit(dtype=None, param_dtype=jnp.float32, features=FEATURES, heads=HEADS, seed=0):
    """With biases that are not 0."""
    bias_init = nnx.initializers.normal(0.5)
    options = {"dtype": dtype, "param_dtype": param_dtype, "bias_init": bias_init}
    return snn.RGLRU(features, num_heads=heads, rngs=nnx.Rngs(seed), **options)


def float64(tree):
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def weights_of(cell):
    return float64(nnx.to_pure_dict(nnx.state(cell, nnx.Param)))


def data(steps=LONG, batch=BATCH, features=FEATURES):
    rng = np.random.default_rng(0)
    x, cotangent = rng.normal(size=(2, steps, batch, features))
    starts = rng.random((steps, batch)) < 0.03
    return x, rng.normal(size=(batch, features)), cotangent, starts


def program(cell, **options):
    """Outputs and last state of weights, inputs `[time, batch, features]` and first state."""
    rnn = snn.RNN(cell, time_major=True, return_carry=True)
    graph, weights, rest = nnx.split(rnn, nnx.Param, ...)

    def run(weights, x, first):
        last, outputs = nnx.merge(graph, weights, rest, copy=True)(
            x, initial_carry=first, **options
        )
        return outputs, last

    return run, weights


def close(found, expected, tolerance):
    """Relative to the largest element of each array."""
    for path, leaf in jax.tree.leaves_with_path(expected):
        other = functools.reduce(lambda tree, key: tree[key.key], path, found)
        np.testing.assert_allclose(other, leaf, rtol=0, atol=tolerance * np.max(np.abs(leaf)))


def test_values_and_gradients_are_numpys():
    x, first, cotangent, starts = data()
    with jax.enable_x64(True):
        cell = unit(param_dtype=jnp.float64)
        run, weights = program(cell, resets=starts)
        found, pull = jax.vjp(lambda *args: run(*args)[0], weights, x, first)
        of_weights, of_x, of_first = pull(jnp.asarray(cotangent))
    known = weights_of(cell)
    np.testing.assert_allclose(found, reference.states(known, x, first, starts), atol=1e-13)
    expected = reference.gradients(known, x, first, cotangent, starts)
    close(nnx.to_pure_dict(of_weights)["cell"], expected[0], 1e-12)
    np.testing.assert_allclose(of_x, expected[1], atol=1e-12)
    np.testing.assert_allclose(of_first, expected[2], atol=1e-12)


def test_forward_mode_and_second_order():
    x, first, cotangent, _ = data(steps=CHUNK * 2)
    rng = np.random.default_rng(1)
    with jax.enable_x64(True):
        run, weights = program(unit(param_dtype=jnp.float64))
        at = weights, jnp.asarray(x), jnp.asarray(first)
        along = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(size=leaf.shape)), at)

        def loss(*args):
            return jnp.sum(jnp.sin(run(*args)[0]) * cotangent)

        gradient = jax.grad(loss, (0, 1, 2))

        def slope(*args):
            return jax.jvp(loss, args, along)[1]

        @jax.jit
        def everything(args):
            by_reverse = sum(map(jnp.vdot, *map(jax.tree.leaves, (gradient(*args), along))))
            forward_over_reverse = jax.jvp(gradient, args, along)[1]
            reverse_over_forward = jax.grad(slope, (0, 1, 2))(*args)
            moved = [
                gradient(*jax.tree.map(lambda a, b, sign=sign: a + sign * 1e-5 * b, args, along))
                for sign in (1, -1)
            ]
            difference = jax.tree.map(lambda a, b: (a - b) / 2e-5, *moved)
            return slope(*args), by_reverse, forward_over_reverse, reverse_over_forward, difference

        forward, by_reverse, first_way, second_way, difference = everything(at)
    assert float(forward) == pytest.approx(float(by_reverse), rel=1e-12)
    for ours, others, slow in zip(
        *map(jax.tree.leaves, (first_way, second_way, difference)), strict=True
    ):
        scale = np.max(np.abs(slow))
        np.testing.assert_allclose(ours, others, atol=1e-11 * scale)
        np.testing.assert_allclose(ours, slow, atol=1e-6 * scale)


def test_the_parallel_form_is_the_sequential_one():
    x, first, cotangent, _ = data(steps=37)
    with jax.enable_x64(True):
        forgotten = jnp.asarray(np.random.default_rng(2).random(x.shape) ** 4)
        at = forgotten.at[::11].set(1.0), jnp.asarray(x), jnp.asarray(first)
        along = tuple(jnp.cos(7 * part) for part in at)

        def everything(form):
            states, pull = jax.vjp(form, *at)
            return states, pull(jnp.asarray(cotangent)), jax.jvp(form, at, along)[1]

        forms = recurrences.linear_recurrence, recurrences.sequential, recurrences.parallel
        ruled, *found = jax.jit(lambda: [everything(form) for form in forms])()
    for other in found:
        for leaf, expected in zip(*map(jax.tree.leaves, (other, ruled)), strict=True):
            np.testing.assert_allclose(leaf, expected, atol=1e-13 * np.max(np.abs(expected)))
    assert np.all(np.asarray(ruled[0])[::11] == x[::11])  # all is forgotten


# Closed forms, against mpmath

MEMORIES = 10.0 ** np.arange(9)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_forgetting_and_its_derivatives_for_every_memory(dtype):
    """Of memories of 1 to 10^8 steps: the gates' and Lambda's share, to second order."""
    z = np.array([-3.0, 0.0, 2.0], dtype)
    with jax.enable_x64(True):
        lambdas = np.log(np.expm1(1 / (4 * MEMORIES))).astype(dtype)

        def both(z, parameter):
            return jnp.stack(forgetting(z, log_scale(parameter)))

        def to_second_order(z, parameter):
            first = jax.jacrev(both, (0, 1))(z, parameter)
            second = jax.jacfwd(jax.jacfwd(both, 1), (0, 1))(z, parameter)
            return jnp.stack([both(z, parameter), *first, *second])

        over_all = jax.vmap(jax.vmap(to_second_order, (0, None)), (None, 0))
        found = jax.jit(over_all)(z, lambdas)
    assert found.dtype == dtype
    orders = [(0, 0), (1, 0), (0, 1), (1, 1), (0, 2)]
    with mpmath.workdps(60):
        for memory, parameter in enumerate(lambdas):
            for index, gate in enumerate(z):

                def kept(z, parameter):
                    rate = 8 * mpmath.log1p(mpmath.exp(parameter)) / (1 + mpmath.exp(-z))
                    return mpmath.exp(-rate)

                forms = (
                    lambda z, parameter: 1 - kept(z, parameter),
                    lambda z, parameter: mpmath.sqrt(1 - kept(z, parameter) ** 2),
                )
                at = mpmath.mpf(float(gate)), mpmath.mpf(float(parameter))
                for form, function in enumerate(forms):
                    truth = [float(mpmath.diff(function, at, n)) for n in orders]
                    off = np.abs(np.float64(found[memory, index, :, form]) - truth)
                    # A second derivative may be 0, where its terms are as large as the first. The
                    # exponential of Lambda adds |Lambda| eps.
                    scale = np.abs(truth) + np.abs(truth[2])
                    scale *= (8 + abs(parameter)) * np.finfo(dtype).eps
                    assert np.all(off <= scale), (parameter, gate, form, off / scale)


def test_no_gradient_is_infinite_or_nan_whatever_the_parameter():
    """Beyond any memory, where the rate of forgetting is less than the smallest number, too."""
    x, first, cotangent, _ = (jnp.asarray(a, jnp.float32) for a in data(steps=9))
    cell = unit(dtype=jnp.bfloat16)
    cell.a_param.set_value(jnp.array([-1e4, -95.0, -40.0, 1e3]))
    cell.a_gate.bias.set_value(jnp.array([[-200.0, 0.0], [90.0, -90.0]]))
    run, weights = program(cell)

    def loss(*args):
        return jnp.sum(run(*args)[0].astype(jnp.float32) * cotangent)

    gradient = jax.jit(jax.grad(loss, (0, 1, 2)))(weights, x.astype(jnp.bfloat16), first)
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(gradient))


# bfloat16


def of_memory(memory, features, heads):
    """A unit whose memories are about so many steps, its weights as they are drawn at first."""
    cell = snn.RGLRU(features, num_heads=heads, dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    spread = np.random.default_rng(3).uniform(0.5, 2, features)  # r is about 1/2
    cell.a_param.set_value(jnp.asarray(np.log(np.expm1(spread / (4 * memory))), jnp.float32))
    return cell


def errors_in_bfloat16(memory, steps, batch, features, heads):
    """Error of the states and cosines of the gradients: of the unit, and of the authors' form."""
    cell = of_memory(memory, features, heads)
    rng = np.random.default_rng(4)
    x, cotangent = rng.normal(size=(2, steps, batch, features)).astype(jnp.bfloat16)
    first = np.zeros((batch, features), np.float32)
    run, weights = program(cell)
    pure = nnx.to_pure_dict(weights)["cell"]
    known = float64(pure)
    truth = reference.states(known, np.float64(x), np.float64(first))
    of_weights, of_x, _ = reference.gradients(
        known, np.float64(x), np.float64(first), np.float64(cotangent)
    )
    expected = jax.tree.leaves((of_weights, of_x))

    found = []
    for form, given in (
        (lambda weights, x: run(weights, x, jnp.asarray(first))[0], weights),
        (lambda weights, x: clipped_rg_lru(weights, x, jnp.asarray(first)), pure),
    ):

        def both(given, x, form=form):
            states, pull = jax.vjp(form, given, x)
            return states, pull(jnp.asarray(cotangent))

        states, (of_given, of_inputs) = jax.jit(both)(given, jnp.asarray(x))
        of_given = of_given if isinstance(of_given, dict) else nnx.to_pure_dict(of_given)["cell"]
        states = np.float64(states)
        error = np.sqrt(np.mean((states - truth) ** 2) / np.mean(truth**2))
        leaves = [np.float64(leaf) for leaf in jax.tree.leaves((of_given, of_inputs))]
        cosines = [
            np.sum(a * b) / max(np.linalg.norm(a) * np.linalg.norm(b), 1e-300)  # a may be 0
            for a, b in zip(leaves, expected, strict=True)
        ]
        found.append((error, cosines))
    return found


def test_bfloat16_inputs_and_products_keep_the_memory():
    """The authors' form does not: 1 - a^2 is 0 in bfloat16, so that nothing enters the state."""
    (error, cosines), (their_error, their_cosines) = errors_in_bfloat16(1e5, 300, 2, 32, 2)
    assert error <= 0.01
    assert min(cosines) >= 0.9999
    assert their_error > 0.1
    assert min(their_cosines) < 0.9


@pytest.mark.parametrize("memory", [1e5, 1e8])
def test_every_unit_forgets(memory):
    """No factor is 1 exactly, as most are in bfloat16, and in float32 beyond 3e7 steps."""
    x = jnp.asarray(data(steps=3, features=32)[0], jnp.bfloat16)
    gates = snn.RNN(of_memory(memory, 32, 2), time_major=True)(x, return_gates=True)[1]
    assert gates.log_decay.dtype == jnp.float32
    forgotten = -np.expm1(np.asarray(gates.log_decay))
    assert np.all((forgotten > 0) & (forgotten * memory < 4))
    assert np.mean(np.exp(gates.log_decay).astype(jnp.bfloat16) == 1) > 0.9


@pytest.mark.proof
@pytest.mark.parametrize("memory", [1e2, 1e3, 1e4, 1e5])
def test_bfloat16_keeps_the_memory_at_the_sizes_of_a_model(memory):
    (error, cosines), _ = errors_in_bfloat16(memory, 2048, 2, 256, 4)
    assert error <= 0.01
    assert min(cosines) >= 0.9999


def test_a_state_of_a_million_steps_of_memory():
    """In float32, whose nearest number to a is off by up to 3 % of what a is less than 1."""
    steps = 4000
    cell = unit(features=8, heads=1)
    cell.a_param.set_value(jnp.full(8, np.log(np.expm1(1 / 4e6)), jnp.float32))
    x = np.random.default_rng(5).normal(1, 1, size=(steps, 1, 8)).astype(np.float32)
    run, weights = program(cell)
    found, _ = jax.jit(run)(weights, jnp.asarray(x), jnp.zeros((1, 8)))
    truth = reference.states(weights_of(cell), np.float64(x), np.zeros((1, 8)))
    np.testing.assert_allclose(found[-1], truth[-1], rtol=3e-5)


# Sequences


def test_packed_sequences_are_single_ones():
    """Resets, lengths and both directions: each sequence is what it is by itself."""
    lengths = (5, 1, 9, 3)
    rng = np.random.default_rng(6)
    parts = [rng.normal(size=(n, FEATURES)).astype(np.float32) for n in lengths]
    cell = unit()
    rnn = snn.RNN(cell, return_carry=True)
    packed = jnp.asarray(np.concatenate(parts))[None]
    starts = np.zeros((1, sum(lengths)), bool)
    starts[0, np.cumsum((0, *lengths[:-1]))] = True
    padded = jnp.stack([jnp.pad(jnp.asarray(p), ((0, 9 - len(p)), (0, 0))) for p in parts])
    at_start = jnp.zeros((4, 9), bool).at[:, 0].set(True)
    carry = jnp.full((1, FEATURES), 7.0)
    for reverse in (False, True):

        @nnx.jit
        def run(rnn, reverse=reverse):
            options = {"reverse": reverse, "keep_order": True}
            last, outputs = rnn(packed, initial_carry=carry, resets=jnp.asarray(starts), **options)
            by_length = rnn(padded, seq_lengths=jnp.asarray(lengths), **options)
            marked = at_start if not reverse else None
            return last, outputs, by_length, rnn(padded, resets=marked, **options)

        last, outputs, (lasts, by_length), _ = run(rnn)
        weights = weights_of(cell)
        at = 0
        for index, part in enumerate(parts):
            inputs = np.float64(part[::-1] if reverse else part)[:, None]
            # The last sequence, in reverse, is the one that no reset precedes.
            begins = not reverse or index < len(parts) - 1
            mark = np.zeros((len(part), 1), bool)
            mark[0] = begins
            first = np.zeros((1, FEATURES)) if begins else np.float64(carry)
            single = reference.states(weights, inputs, first, mark)[:, 0]
            ordered = single[::-1] if reverse else single
            np.testing.assert_allclose(outputs[0, at : at + len(part)], ordered, atol=2e-6)
            at += len(part)
            if (index == 0) if reverse else (index == len(parts) - 1):
                np.testing.assert_allclose(last[0], single[-1], atol=2e-6)
            unmarked = reference.states(weights, inputs, np.zeros((1, FEATURES)))[:, 0]
            np.testing.assert_allclose(lasts[index], unmarked[-1], atol=2e-6)
            expected = unmarked[::-1] if reverse else unmarked
            np.testing.assert_allclose(by_length[index, : len(part)], expected, atol=2e-6)


def test_steps_by_themselves_are_the_sequence():
    x, first, _, starts = data(steps=12)
    x, first = jnp.asarray(x, jnp.float32), jnp.asarray(first, jnp.float32)
    starts[4] = True
    cell = unit()

    @nnx.jit
    def run(cell):
        outputs, last = [], first
        for step, start in zip(x, starts, strict=True):
            last, output, gates = cell(last, step, reset=start, return_gates=True)
            outputs.append((output, gates))
        rnn = snn.RNN(cell, time_major=True, return_carry=True)
        whole = rnn(x, initial_carry=first, resets=jnp.asarray(starts), return_gates=True)
        return last, jax.tree.map(lambda *parts: jnp.stack(parts), *outputs), whole

    last, (outputs, gates), (whole_last, whole_outputs, whole_gates) = run(cell)
    np.testing.assert_allclose(last, whole_last, atol=1e-6)
    np.testing.assert_allclose(outputs, whole_outputs, atol=1e-6)
    expected = reference.gates(weights_of(cell), np.float64(x))
    for found, other, known in zip(gates, whole_gates, expected[:3], strict=True):
        np.testing.assert_allclose(found, known, atol=1e-6)
        np.testing.assert_allclose(other, known, atol=1e-6)


# Initialisation, refusals, replaced gates


def test_radii_are_uniform_by_area_in_the_ring():
    draws = 20_000
    parameter = ring(0.9, 0.999)(jax.random.key(0), (draws,))
    radii = np.exp(-np.logaddexp(0, float64(parameter)))
    assert 0.9 <= radii.min() <= radii.max() <= 0.999
    share = (radii**2 - 0.9**2) / (0.999**2 - 0.9**2)
    shares = np.histogram(share, bins=10, range=(0, 1))[0] / draws
    # Seven standard deviations of a tenth of the draws
    np.testing.assert_allclose(shares, 0.1, atol=7 * np.sqrt(0.09 / draws))


def test_first_values_are_the_rings_and_the_variance_that_of_a_block():
    cell = snn.RGLRU(64, num_heads=4, min_radius=0.99, max_radius=0.999_999, rngs=nnx.Rngs(0))
    radii = np.exp(-np.logaddexp(0, float64(cell.a_param[...])))
    assert 0.99 <= radii.min() <= radii.max() <= 0.999_999
    kernels = jnp.stack([cell.a_gate.kernel[...], cell.input_gate.kernel[...]])
    assert kernels.shape == (2, 4, 16, 16)
    # 1/16, with a relative standard deviation of sqrt(2/2048)
    assert float(jnp.var(kernels)) == pytest.approx(1 / 16, rel=0.13)


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


class Doubled(nnx.Module):
    """Calls a gate and doubles what it returns."""

    def __init__(self, gate):
        self.gate = gate

    def __call__(self, inputs):
        return 2 * self.gate(inputs)


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


# Meshes


@pytest.mark.parametrize(
    ("place", "state"),
    [(P(None, ("d", "m")), None), (P(None, "d", "m"), P("d", "m"))],
    ids=["batch", "batch and features"],
)
def test_meshes_give_what_one_device_gives(place, state):
    steps = 2 * CHUNK if state is None else 6
    x, first, cotangent, starts = data(steps, batch=4, features=8)
    x, first, cotangent = (jnp.asarray(a, jnp.float32) for a in (x, first, cotangent))
    cell = unit(features=8, heads=4)
    _, weights = program(cell)

    def everything(weights, x, first, starts, cotangent):
        run, _ = program(cell, resets=starts)

        def loss(weights, x):
            outputs, last = run(weights, x, first)
            return jnp.sum(outputs * cotangent) + jnp.sum(last)

        return jax.value_and_grad(loss, (0, 1))(weights, x)

    first = None if state is None else first
    expected = jax.jit(everything)(weights, x, first, jnp.asarray(starts), cotangent)
    mesh = jax.make_mesh((2, 2), ("d", "m"), (AxisType.Explicit,) * 2)
    with jax.set_mesh(mesh):

        def put(array, spec):
            return jax.device_put(array, NamedSharding(mesh, spec))

        first = None if first is None else put(first, state)
        marks = put(jnp.asarray(starts), P(*tuple(place)[:2]))
        found = jax.jit(everything)(weights, put(x, place), first, marks, put(cotangent, place))
    for ours, one in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(np.asarray(ours), one, rtol=2e-5, atol=2e-5)


# Weights of RecurrentGemma


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


# Memory


@pytest.mark.proof
def test_memory_is_that_of_a_chunk():
    """Twice the steps need three arrays of the inputs' size more at most; plainly written, 14."""
    sizes = []
    for steps in (8 * CHUNK, 16 * CHUNK):
        run, weights = program(unit(features=64))
        x = jax.ShapeDtypeStruct((steps, 2, 64), jnp.float32)

        def loss(weights, x):
            return jnp.sum(jnp.sin(run(weights, x, jnp.zeros((2, 64)))[0]))  # noqa: B023

        compiled = jax.jit(jax.grad(loss, (0, 1))).lower(weights, x).compile()
        whole = steps * 2 * 64 * 4
        sizes.append((compiled.memory_analysis().temp_size_in_bytes, whole))
    (short, one), (long, two) = sizes
    assert long - short <= 3 * (two - one)
