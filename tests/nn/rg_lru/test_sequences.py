"""Packed sequences are single ones, and steps by themselves the sequence."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import sigjax.nn as snn
from tests.nn.rg_lru import reference
from tests.nn.rg_lru.units import FEATURES, data, unit, weights_of


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
