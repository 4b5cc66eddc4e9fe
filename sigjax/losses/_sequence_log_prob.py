"""The log-probability that a language model gives to an answer."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jax.typing import ArrayLike

from ..functional._arguments import real_floating
from ..functional._compiled import compiled
from ..functional._messages import must
from ..functional._precision import computed_in
from ..functional._undefined import nan_unless
from ._elements import joined

_NAME = "losses.sequence_log_prob"
_must = functools.partial(must, of=f"sigjax.{_NAME}")


@compiled("normalize")
def sequence_log_prob(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    where: ArrayLike | None = None,
    normalize: bool = True,
) -> Array:
    r"""$\frac{1}{T} \sum_t \log \mathrm{softmax}(z_t)_{y_t}$, the score of an answer $y$.

    What preference losses are given: the mean for SimPO and ORPO, and, with `normalize=False`,
    the sum for DPO, less that of the reference model.

    A token's term is $-\log(1 + \sum_{j \ne y} e^{z_j - z_y})$, so that it and its derivative
    $p_j - [j = y]$ keep their digits as the probability reaches 1, where a difference of a logit
    and a logarithm of a sum is rounding error.

    Args:
      logits: $z$, real, `[..., time, vocabulary]`; those at t predict the label at t. -inf makes
        a token impossible.
      labels: $y$, integers, `[..., time]`.
      where: boolean, `[..., time]`; tokens where it is False, as those of a prompt and padding,
        count 0 and get gradient 0, whatever logits and labels they have.
      normalize: whether to divide by the number of tokens that count.

    Returns:
      Array `[...]`, float32 at least: an answer's sum of some hundreds, rounded to 16 bits, would
      be as wrong as the difference of two answers is large. 0 of no tokens, -inf if a label
      is impossible, NaN if it is none of the vocabulary.

    Raises:
      TypeError: if an argument is not a real array, `labels` are not integers, or `where` is not
        boolean.
      ValueError: if the shapes do not fit.

    Example:
      >>> import jax.numpy as jnp, sigjax
      >>> logits = jnp.array([[[2.0, 0.0], [0.0, 30.0], [5.0, 5.0]]])
      >>> labels = jnp.array([[0, 1, -100]])  # the last token is padding
      >>> (score,) = sigjax.losses.sequence_log_prob(logits, labels, where=labels >= 0)
      >>> print(f"{score:.5f}")
      -0.06346

    References:
      Meng, Xia & Chen 2024, SimPO (arXiv:2405.14734), section 2.
    """
    z = real_floating(_NAME, "logits", logits)
    y = _array("labels", labels, jnp.integer)
    kept = None if where is None else _array("where", where, jnp.bool_)
    if z.ndim < 2:
        raise ValueError(_must("logits", "have shape [..., time, vocabulary]", z.shape))
    for name, array in {"labels": y, "where": kept}.items():
        if array is not None and array.shape != z.shape[:-1]:
            raise ValueError(
                _must(
                    name,
                    "have the shape of the logits less their last dimension",
                    f"{array.shape} for {z.shape}",
                )
            )
    if y.dtype.itemsize < 4:
        y = y.astype(jnp.int32)  # which counts any vocabulary
    terms = _log_probs(z.astype(computed_in(z.dtype)), y, kept)
    total = jnp.sum(terms, axis=-1)
    if not normalize:
        return total
    if kept is None:
        return total / max(terms.shape[-1], 1)
    return total / jnp.maximum(jnp.sum(kept, axis=-1), 1).astype(total.dtype)


def _log_probs(z: Array, labels: Array, kept: Array | None) -> Array:
    """The log-probability of each label, 0 where it does not count."""
    # Masked before anything is computed: the reverse pass multiplies the 0 of a masked term by its
    # derivative, and 0 times NaN is NaN.
    if kept is not None:
        labels, kept = joined(labels, kept)
        labels = jnp.where(kept, labels, 0)
        z, mask = joined(z, kept[..., None])
        z = jnp.where(mask, z, 0)
    z, of_label = joined(z, labels[..., None])
    is_label = lax.broadcasted_iota(of_label.dtype, z.shape, z.ndim - 1) == of_label
    lowest = float(jnp.finfo(z.dtype).min) / 4  # which can be subtracted, as -inf cannot
    finite = jnp.maximum(z, lowest)
    own = _own(finite, labels[..., None], is_label)
    ahead = jnp.where(is_label, lowest, finite - own)
    most = lax.stop_gradient(jnp.maximum(jnp.max(ahead, axis=-1, keepdims=True), 0))
    others = jnp.sum(jnp.exp(ahead - most), axis=-1)
    most, own = jnp.squeeze(most, -1), jnp.squeeze(own, -1)
    term = -(most + jnp.log1p(others + jnp.expm1(-most)))
    term = jnp.where(own > lowest, term, -jnp.inf)
    labels, term = joined(labels, term)
    term = nan_unless((labels >= 0) & (labels < z.shape[-1]), term)
    if kept is None:
        return term
    kept, term = joined(kept, term)
    return jnp.where(kept, term, 0)


def _own(z: Array, label: Array, is_label: Array) -> Array:
    """The logit of the label, `[..., 1]`."""
    if jax.typeof(z).sharding.mesh.empty:
        return jnp.take_along_axis(z, label, axis=-1, mode="clip")
    # On a mesh the vocabulary may be divided over devices; a CPU takes longer for it.
    return jnp.sum(jnp.where(is_label, z, 0), axis=-1, keepdims=True)


def _array(name: str, value: ArrayLike, kind: Any) -> Array:
    dtype = getattr(value, "dtype", None)
    if dtype is None or not jnp.issubdtype(dtype, kind):
        wanted = "boolean" if kind is jnp.bool_ else "integers"
        raise TypeError(
            _must(
                name, f"be an array of {wanted}", type(value).__name__ if dtype is None else dtype
            )
        )
    return jnp.asarray(value)
