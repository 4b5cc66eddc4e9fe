"""Functions, each with a change of something that it reaches.

A change says what the function's result is multiplied by from then on: 3 instead of 2.
"""

import functools
import types

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

SCALE = 2.0
WEIGHT = jnp.array(2.0)
TABLE = np.array([2.0], np.float32)
SETTINGS = {"scale": 2.0}
LIST = [2.0]


def scaled(x):
    return jax.nn.sigmoid(x) * SCALE


def changed_cell():
    scale = 2.0

    def function(x):
        return jax.nn.sigmoid(x) * scale

    def change():
        nonlocal scale
        scale = 3.0

    return function, change


def changed_array_in_a_cell():
    weight = jnp.array(2.0)

    def function(x):
        return jax.nn.sigmoid(x) * weight

    def change():
        nonlocal weight
        weight = jnp.array(3.0)

    return function, change


def changed_global():
    def change():
        global SCALE
        SCALE = 3.0

    return (lambda x: scaled(x)), change


def changed_global_array():
    def change():
        global WEIGHT
        WEIGHT = jnp.array(3.0)

    return (lambda x: jax.nn.sigmoid(x) * WEIGHT), change


def changed_default():
    def function(x, scale=2.0):
        return jax.nn.sigmoid(x) * scale

    def change():
        function.__defaults__ = (3.0,)

    return function, change


def changed_keyword_default():
    def function(x, *, scale=2.0):
        return jax.nn.sigmoid(x) * scale

    def change():
        function.__kwdefaults__["scale"] = 3.0

    return function, change


def changed_content_of_an_array():
    return (lambda x: jax.nn.sigmoid(x) * TABLE), functools.partial(TABLE.__setitem__, 0, 3.0)


def changed_list():
    return (lambda x: jax.nn.sigmoid(x) * LIST[0]), functools.partial(LIST.__setitem__, 0, 3.0)


def changed_dict():
    change = functools.partial(SETTINGS.update, scale=3.0)
    return (lambda x: jax.nn.sigmoid(x) * SETTINGS["scale"]), change


def changed_attribute():
    settings = types.SimpleNamespace(scale=2.0)
    return (lambda x: jax.nn.sigmoid(x) * settings.scale), functools.partial(
        setattr, settings, "scale", 3.0
    )


def changed_function():
    def scale():
        return 2.0

    def change():
        scale.__code__ = (lambda: 3.0).__code__

    return (lambda x: jax.nn.sigmoid(x) * scale()), change


def changed_variable():
    variable = nnx.Variable(jnp.array(2.0))
    change = functools.partial(variable.set_value, jnp.array(3.0))
    return (lambda x: jax.nn.sigmoid(x) * variable[...]), change


def changed_module():
    net = nnx.BatchNorm(3, use_bias=False, rngs=nnx.Rngs(0))
    net.scale.set_value(jnp.full(3, 2.0))
    net.eval()

    def change():
        net.scale.set_value(jnp.full(3, 3.0))

    return (lambda x: net(jax.nn.sigmoid(x)) * (1 + 1e-5) ** 0.5), change


def changed_object_with_a_method():
    class Scaling:
        factor = 2.0

        def __call__(self, x):
            return jax.nn.sigmoid(x) * self.factor

    return Scaling(), functools.partial(setattr, Scaling, "factor", 3.0)


def changed_partial():
    factors = {"a": 2.0}
    function = functools.partial(lambda factors, x: jax.nn.sigmoid(x) * factors["a"], factors)
    return function, functools.partial(factors.update, a=3.0)


def changed_under_a_transformation():
    function, change = changed_cell()
    return jax.vmap(function), change


CHANGES = {name: value for name, value in globals().items() if name.startswith("changed_")}
