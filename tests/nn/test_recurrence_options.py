"""What recurrences owe Flax: first states, states of their own, both directions, refusals."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import sigjax.nn as snn
from tests.nn.recurrences import CELLS, HIDDEN, IN, SLOTS, STEPS, build


@pytest.mark.sampled(3)
@pytest.mark.parametrize("name", CELLS)
def test_the_layers_of_lora_learn_and_are_found(name):
    rnn = snn.RNN(build(name, "LoRA"))
    found = [node for _, node in nnx.iter_graph(rnn) if isinstance(node, nnx.LoRAParam)]
    assert len(found) == 2 * len(SLOTS[name])

    def loss(rnn):
        return jnp.sum(rnn(jnp.ones((2, STEPS, IN))) ** 2)

    gradient = nnx.jit(nnx.grad(loss, argnums=nnx.DiffState(0, nnx.LoRAParam)))(rnn)
    leaves = jax.tree.leaves(gradient)
    assert len(leaves) == len(found)
    assert all(jnp.any(leaf != 0) for leaf in leaves)


@pytest.mark.parametrize("name", ["GRUCell", "LSTMCell"])
def test_first_states_are_drawn_as_flax_draws_them(name):
    init = nnx.initializers.normal(1.0)
    pair = (getattr(snn, name), snn.RNN), (getattr(nnx, name), nnx.RNN)
    x = jnp.ones((2, STEPS, IN))

    def drawn(cell_type, runner, **options):
        cell = cell_type(IN, HIDDEN, rngs=nnx.Rngs(0, carry=1), **options)
        parameters = nnx.state(cell, nnx.Param)
        given = cell.initialize_carry((2, IN), nnx.Rngs(2), init)
        named = cell.initialize_carry((2, IN), nnx.Rngs(carry=2).carry, init)
        own = cell.initialize_carry((2, IN), None, init) if "keep_rngs" in options else None
        if "carry_init" in options:
            own = [runner(cell)(x, rngs=rngs) for rngs in (nnx.Rngs(3), nnx.Rngs(3).carry, None)]
        return nnx.to_pure_dict(parameters), given, named, own

    for options, words in (
        ({}, None),
        ({"keep_rngs": True}, "keep_rngs argument is deprecated"),
        ({"carry_init": init}, "carry_init is provided in __init__"),
    ):
        found = []
        for cell_type, runner in pair:
            if words is None:
                found.append(drawn(cell_type, runner))
            else:
                with pytest.warns(UserWarning, match=words):
                    found.append(drawn(cell_type, runner, **options))
        chex.assert_trees_all_close(*found, rtol=1e-5, atol=1e-6)


def test_a_reset_restores_the_cells_own_first_state():
    init = nnx.initializers.constant(0.7)
    with pytest.warns(UserWarning, match="carry_init"):
        cell = snn.GRUCell(IN, HIDDEN, carry_init=init, rngs=nnx.Rngs(0))
    x = jnp.sin(jnp.arange(STEPS * IN, dtype=jnp.float32)).reshape(1, STEPS, IN)
    resets = jnp.zeros((1, STEPS), bool).at[0, 3].set(True)
    outputs = snn.RNN(cell)(x, initial_carry=jnp.zeros((1, HIDDEN)), resets=resets)
    alone = snn.RNN(cell)(x[:, 3:], initial_carry=jnp.full((1, HIDDEN), 0.7))
    np.testing.assert_allclose(outputs[:, 3:], alone, rtol=1e-6)


class Counting(nnx.GRUCell):
    """Flax's, with dropout and a count of its steps."""

    def __init__(self, *sizes, rngs):
        super().__init__(*sizes, rngs=rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)
        self.steps = nnx.Variable(jnp.zeros((), int))

    def __call__(self, carry, inputs):
        self.steps[...] += 1
        return super().__call__(self.dropout(carry), inputs)


@pytest.mark.parametrize("broadcast", [None, "dropout"])
def test_a_cells_own_state_is_flaxs(broadcast):
    def run(runner):
        cell = Counting(IN, HIDDEN, rngs=nnx.Rngs(0, dropout=1))
        rnn = runner(cell, broadcast_rngs=broadcast)
        outputs = [rnn(jnp.ones((2, STEPS, IN))) for _ in range(2)]
        return outputs, cell.steps[...], cell.dropout.rngs.count[...]

    chex.assert_trees_all_close(run(snn.RNN), run(nnx.RNN), rtol=1e-6)


def test_kernels_of_each_step():
    axes = nnx.StateAxes({nnx.Param: 0, ...: nnx.Carry})
    cells = nnx.vmap(lambda rngs: snn.GRUCell(IN, HIDDEN, rngs=rngs))(nnx.Rngs(0).split(STEPS))
    x = jnp.ones((2, STEPS, IN))
    found, expected = (runner(cells, state_axes=axes)(x) for runner in (snn.RNN, nnx.RNN))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


@pytest.mark.parametrize(
    "options", [{}, {"return_carry": True, "merge_fn": jnp.add}, {"time_major": True}], ids=str
)
def test_bidirectional_is_flaxs(options):
    found, expected = (
        lib.Bidirectional(
            *(lib.RNN(lib.GRUCell(IN, HIDDEN, rngs=nnx.Rngs(seed))) for seed in range(2)), **options
        )
        for lib in (snn, nnx)
    )
    x = jnp.sin(jnp.arange(3 * STEPS * IN, dtype=jnp.float32)).reshape(3, STEPS, IN)
    x = jnp.moveaxis(x, 1, 0) if "time_major" in options else x

    @nnx.jit
    def both(*models):
        every = None, jnp.array([6, 2, 1])
        return [[model(x, seq_lengths=lengths) for lengths in every] for model in models]

    chex.assert_trees_all_close(*both(found, expected), rtol=1e-5, atol=1e-6)


@pytest.mark.slice
@pytest.mark.parametrize("name", CELLS)
def test_nothing_passes_a_reset_in_either_direction(name):
    rnn = snn.Bidirectional(*(snn.RNN(build(name, "plain")) for _ in range(2)), return_carry=True)
    x = jnp.sin(jnp.arange(2 * STEPS * IN, dtype=jnp.float32)).reshape(2, STEPS, IN)
    resets = jnp.zeros((2, STEPS), bool).at[:, 2].set(True)

    @nnx.jit
    def everything(rnn):
        return rnn(x, resets=resets, return_gates=True), (rnn(x[:, :2]), rnn(x[:, 2:]))

    (carries, outputs, gates), alone = everything(rnn)
    (_, left), (_, right) = alone
    np.testing.assert_allclose(outputs, jnp.concatenate([left, right], 1), rtol=1e-5, atol=1e-6)
    ends = alone[1][0][0], alone[0][0][1]  # forward it ends on the right, backward on the left
    chex.assert_trees_all_close(carries, ends, rtol=1e-5, atol=1e-6)
    chex.assert_shape(jax.tree.leaves(gates), (2, STEPS, HIDDEN))


@pytest.mark.parametrize("name", CELLS)
def test_arguments_are_refused_by_name(name):
    rnn = snn.RNN(build(name, "plain"))
    x = jnp.ones((2, STEPS, IN))
    with pytest.raises(ValueError, match=r"'seq_lengths' must have shape \(2,\).*\(3,\)"):
        rnn(x, seq_lengths=jnp.array([1, 2, 3]))
    with pytest.raises(ValueError, match=r"'resets' must have shape \(2, 6\).*\(6, 2\)"):
        rnn(x, resets=jnp.zeros((STEPS, 2), bool))
