"""How the figures look."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

# Okabe & Ito's colours, told apart with any colour vision (Wong 2011, Nature Methods 8:441).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

MEANING: Mapping[str, str] = MappingProxyType(
    {
        "sigmoid": COLOURS[0],
        "tanh": COLOURS[1],
        "relu": COLOURS[3],
        "sigjax": COLOURS[2],
        "peer": COLOURS[4],
        "float32": COLOURS[5],
        # A dark purple, which Okabe & Ito do not have: darker than all others but blue and black.
        "bfloat16": "#5D2E8C",
    }
)
"""What has the same colour in every figure; `peer` is the library that ours is compared with.

What is not listed takes the palette's colours in turn.
"""

THEORY: Mapping[str, Any] = MappingProxyType(
    {"color": "black", "linestyle": "--", "linewidth": 1.0}
)
"""How a line that theory predicts is drawn."""


def style() -> Any:
    """Settings for `matplotlib.rc_context`."""
    from cycler import cycler

    return {
        "axes.prop_cycle": cycler(color=COLOURS),
        "axes.grid": True,
        "grid.alpha": 0.25,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.constrained_layout.use": True,
        "font.size": 9,
        "legend.frameon": False,
        "legend.fontsize": 8,
        "lines.linewidth": 1.5,
        "svg.fonttype": "none",  # text stays text, which can be searched
        "svg.hashsalt": "sigjax",
    }
