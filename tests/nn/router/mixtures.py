"""Mixtures of experts made with a router: sent to the chosen ones, and masked."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import lax

import sigjax.nn as snn
from tests.nn.router.definition import EXPERTS

FEATURES = 6
TOKENS = np.random.default_rng(2).normal(size=(4, 10, FEATURES)).astype(np.float32)
KERNELS = np.random.default_rng(3).normal(size=(EXPERTS, FEATURES, 3)).astype(np.float32)


def a_router(**options):
    return snn.SigmoidRouter(FEATURES, EXPERTS, experts_per_token=2, rngs=nnx.Rngs(1), **options)


def mixture(routing, tokens, kernels, first=0):
    plan = snn.dispatch(routing.experts - first, kernels.shape[0])
    rows = lax.ragged_dot(plan.gather(tokens), kernels, plan.group_sizes)
    return plan.combine(rows, routing.weights)


def every_expert(routing, tokens, kernels):
    """The same, of all experts, with weights of 0 for those that a token was not sent to."""
    shares = jax.nn.one_hot(routing.experts, kernels.shape[0]) * routing.weights[..., None]
    return jnp.einsum("...ke,...i,eio->...o", shares, tokens, kernels)
