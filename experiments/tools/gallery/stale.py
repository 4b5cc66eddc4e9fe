"""Which published results other code made than today's.

    python -m experiments.tools.gallery.stale       (part of make check)

A warning and no error: a change of the code is one minute's work, a result at a paper's size takes
up to an hour.
"""

import sys
from pathlib import Path

from experiments.harness import experiment
from experiments.harness.code import code_digest
from experiments.harness.program import carried_out

from .record import damaged, read

GALLERY = Path(__file__).parents[3] / "docs" / "gallery"


def stale(folder: Path = GALLERY, package: str = "experiments") -> list[str]:
    """A line for each published result that may not be what its experiment gives now."""
    themes = {name: theme for theme, names in experiment.themes(package).items() for name in names}
    lines = []
    for name, result in read(folder).items():
        files = damaged(folder, result)
        if files:
            lines.append(f"{name}: {', '.join(files)} is not what was published with it")
        elif name not in themes:
            lines.append(f"{name}: there is no such experiment any more")
        else:
            today = code_digest(f"{package}.{themes[name]}.{name}")
            if result.record["digest"] != today:
                made_by = result.record["digest"]
                lines.append(f"{name}: code {made_by} made it, today's is {today}")
    return lines


def main() -> int:
    """Prints the list as a warning; 0."""
    lines = stale()
    if lines:
        print("warning: published results that `make publish` should renew:")
        print("\n".join(f"  {line}" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(carried_out(main))
