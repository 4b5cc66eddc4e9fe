"""Which published results other code made than today's.

    python -m experiments.tools.gallery.stale       (part of make check)

A warning and no error: a change of the code is one minute's work, a result at a paper's size takes
up to an hour. Claims and figures are made anew from the data in seconds, by the run's command.
"""

import sys
from pathlib import Path

from experiments.harness import experiment
from experiments.harness.code import MEASURES, SHOWS, code_digest
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
            module = f"{package}.{themes[name]}.{name}"
            for key, names, what in (("digest", MEASURES, "data"), ("shown", SHOWS, "claims")):
                before, today = result.record.get(key), code_digest(module, names)
                if before != today:
                    lines.append(f"{name}: code {before} made its {what}, today's is {today}")
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
