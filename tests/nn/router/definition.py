"""A router whose inputs are its logits, and its definition in NumPy's float64."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import sigjax.nn as snn

EXPERTS = 8
LOGITS = np.random.default_rng(0).normal(size=(3, 5, EXPERTS)).astype(np.float32)
BIAS = np.random.default_rng(1).normal(size=EXPERTS).astype(np.float32) / 4


def router_of_logits(num_experts=EXPERTS, bias=0.0, **options):
    """A router whose inputs are its logits."""
    router = snn.SigmoidRouter(num_experts, num_experts, rngs=nnx.Rngs(0), **options)
    router.linear.kernel[...] = jnp.eye(num_experts)
    router.bias[...] = jnp.broadcast_to(jnp.float32(bias), num_experts)
    return router


def routed(router, inputs, **options):
    return jax.jit(lambda x: router(x, **options))(inputs)


def log_sigmoid(z):
    return -np.logaddexp(0, -np.float64(z))


def first(scores, count):
    """Indices of the largest, the lowest of equal ones first."""
    return sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:count]


def chosen_by_definition(logits, bias, k, num_groups=1, groups_per_token=None):
    scores = np.exp(log_sigmoid(logits)) + np.float64(bias)
    members = np.arange(len(scores)).reshape(num_groups, -1)
    of_groups = [sum(sorted(scores[group])[-2:]) for group in members]
    kept = members[first(of_groups, groups_per_token or num_groups)]
    eligible = [score if i in kept else -math.inf for i, score in enumerate(scores)]
    return first(eligible, k)


def weights_by_definition(logits, chosen):
    log_affinity = log_sigmoid(np.take_along_axis(np.float64(logits), chosen, -1))
    shares = np.exp(log_affinity - log_affinity.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)
