"""The arguments that a module hands on to the linear layers it is made of."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict

from jax.nn.initializers import Initializer
from jax.typing import ArrayLike

from ..functional._messages import must
from ..initializers import prior_bias


class LinearOptions(TypedDict, total=False):
    """Keyword arguments of `flax.nnx.Linear`; what is left out has Flax's default."""

    use_bias: bool
    dtype: Any
    param_dtype: Any
    precision: Any
    kernel_init: Initializer
    bias_init: Initializer
    dot_general: Callable[..., Any]
    promote_dtype: Callable[..., Any]
    preferred_element_type: Any
    kernel_metadata: Mapping[str, Any]
    bias_metadata: Mapping[str, Any]


def with_prior(
    module: str, prior: ArrayLike | Sequence[ArrayLike] | None, options: LinearOptions
) -> LinearOptions:
    """Options of a layer whose sigmoid starts at `prior`.

    Raises:
      ValueError: if the options leave no bias for it.
    """
    if prior is None:
        return options
    for other, clash in (
        ("bias_init", "bias_init" in options),
        ("use_bias=False", not options.get("use_bias", True)),
    ):
        if clash:
            raise ValueError(
                must(
                    "prior",
                    "be None with a bias of its own",
                    f"{prior} and {other}",
                    of=f"sigjax.nn.{module}",
                )
            )
    return {**options, "bias_init": prior_bias(prior)}


def of_one_column(options: LinearOptions) -> LinearOptions:
    """Options of a layer with one output, which cannot be split over devices as many can."""
    return {
        **options,
        "kernel_metadata": _unsplit(options.get("kernel_metadata", {})),
        "bias_metadata": _unsplit(options.get("bias_metadata", {})),
    }


def _unsplit(metadata: Mapping[str, Any]) -> Mapping[str, Any]:
    axes = metadata.get("out_sharding")
    return {**metadata, "out_sharding": (*tuple(axes)[:-1], None)} if axes else metadata
