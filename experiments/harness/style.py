"""How the figures look."""

from typing import Any

# Okabe & Ito's colours, told apart with any colour vision (Wong 2011, Nature Methods 8:441).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")


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
