"""Slices of any number, along any axis, come back whole; four devices share them out here."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from experiments.harness import over_devices


@pytest.fixture(autouse=True)
def all_devices(monkeypatch):
    module = sys.modules["experiments.harness.over_devices"]
    monkeypatch.setattr(module, "_devices", jax.device_count)


def test_every_slice_is_computed_once_whatever_the_devices_divide():
    assert jax.device_count() == 4
    for count in (1, 3, 4, 6):
        found = over_devices(
            lambda x: {"square": x**2, "shape": jnp.full((2, 3), x)}, jnp.arange(count)
        )
        np.testing.assert_array_equal(found["square"], np.arange(count) ** 2)
        assert found["shape"].shape == (count, 2, 3)
        assert isinstance(found["square"], np.ndarray)


@pytest.mark.parametrize("one_by_one", [False, True])
def test_keys_are_slices_too(one_by_one):
    keys = jax.random.split(jax.random.key(0), 5)
    found = over_devices(jax.random.normal, keys, one_by_one=one_by_one)
    np.testing.assert_array_equal(found, [jax.random.normal(key) for key in keys])


def test_axes_are_those_of_vmap_and_what_is_shared_is_whole():
    rows, columns = jnp.arange(6.0).reshape(2, 3), jnp.arange(12.0).reshape(4, 3)
    tree = (rows, jnp.float32(2.0))
    axes = ((1, None), None)

    def function(tree, columns):
        return tree[1] * tree[0].sum() + columns.sum()

    found = over_devices(function, tree, columns, in_axes=axes)
    np.testing.assert_array_equal(found, jax.vmap(function, axes)(tree, columns))


def test_one_by_one_has_leading_axes_only():
    with pytest.raises(ValueError, match="leading axis, got in_axes=1"):
        over_devices(jnp.sum, jnp.ones((2, 3)), in_axes=1, one_by_one=True)


def test_arguments_that_do_not_agree_are_refused():
    with pytest.raises(ValueError, match=r"one size along what is sliced, got \[3, 4\]"):
        over_devices(jnp.add, jnp.ones(3), jnp.ones(4))
