"""Operations that compute nothing."""

# What keeps all elements, in other places or formats.
MOVES = frozenset(
    (
        "convert_element_type", "copy", "reshape", "transpose", "squeeze", "broadcast_in_dim",
        "sigjax_mark", "reduce_precision", "optimization_barrier", "stop_gradient",
    )
)  # fmt: skip
