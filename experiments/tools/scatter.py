"""How far the numbers of statistical claims scatter from seed to seed: docs/scatter.md.

    python -m experiments.tools.scatter [--preset quick] [--results results/seeds]
    (or: make scatter, which runs everything with three seeds before)

Of each claim that depends on random numbers: mean and standard deviation of what runs with
different seeds found, and how many standard deviations lie between the mean and failing.
"""

import dataclasses
import math
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal

from experiments.harness import experiment, storage
from experiments.harness.claims import Claim
from experiments.harness.flags import parsed
from experiments.harness.pages import expected, number, tolerance
from experiments.harness.program import carried_out
from experiments.harness.stored import StoredRun, finished
from experiments.harness.usage import UsageError

from .gallery.pages import plain

PAGE = Path(__file__).parents[2] / "docs" / "scatter.md"
# A standard deviation of two numbers says next to nothing.
_FEWEST = 3


@dataclasses.dataclass(frozen=True)
class Options:
    """Which runs to compare."""

    preset: Literal["quick", "paper"] = "quick"
    """Whose runs."""
    results: Path = Path("results/seeds")
    """Folder that holds the results of all seeds."""


@dataclasses.dataclass(frozen=True)
class Scatter:
    """One claim, measured with several seeds.

    Attributes:
      claim: of the first seed.
      numbers: what each seed found.
      fails: how many of them fail.
    """

    claim: Claim
    numbers: tuple[float, ...]
    fails: int

    @property
    def mean(self) -> float:
        """Of the seeds."""
        return statistics.fmean(self.numbers)

    @property
    def deviation(self) -> float:
        """Standard deviation from seed to seed: the Monte-Carlo error of one run."""
        return statistics.stdev(self.numbers)

    @property
    def room(self) -> float:
        """How many standard deviations the mean is from failing; infinite where none scatters."""
        claim = self.claim
        assert claim.expected is not None  # it is statistical
        above = claim.expected + claim.allowance - self.mean
        below = self.mean - (claim.expected - claim.allowance)
        distance = {"<=": above, ">=": below, "==": min(above, below)}[claim.relation]
        return distance / self.deviation if self.deviation else math.copysign(math.inf, distance)


def scatter(runs: Iterable[StoredRun]) -> Iterator[Scatter]:
    """The statistical claims of runs of one experiment that differ in their seeds."""
    found = defaultdict(list)
    for run in runs:
        for claim in run.claims or ():
            if claim.kind == "statistical":
                found[claim.name].append(claim)
    for claims in found.values():
        if len(claims) >= _FEWEST:
            fails = sum(claim.verdict == "fails" for claim in claims)
            yield Scatter(claims[0], tuple(claim.measured for claim in claims), fails)


def page(runs: Mapping[str, Sequence[StoredRun]], preset: str, package: str) -> str:
    """The page, in the article's order.

    Raises:
      UsageError: if no experiment was run with enough seeds.
    """
    parts = []
    for name in experiment.names(package):
        of_seed = {int(run.record["seed"]): run for run in runs.get(name, ())}
        rows = list(scatter(of_seed[seed] for seed in sorted(of_seed)))
        if rows:
            seeds = ", ".join(map(str, sorted(of_seed)))
            parts += [f"## {name}", f"Seeds {seeds}.", _table(rows)]
    if not parts:
        raise UsageError(f"no experiment has {_FEWEST} runs at its {preset} size")
    head = [
        "# Scatter",
        "What a claim about random numbers is worth depends on how far they scatter. Here are the "
        f"mean and the standard deviation of what several seeds found with the {preset} preset, "
        "and the room: how many standard deviations lie between the mean and a claim that fails. "
        "Runs at the papers' sizes, in the [gallery](gallery/index.md), draw more and scatter "
        "less. `make scatter` makes this page.",
    ]
    return "\n\n".join([*head, *parts]) + "\n"


def _table(rows: Iterable[Scatter]) -> str:
    lines = [
        "| claim | expected | tolerance | mean | standard deviation | room | fails |",
        "|---" * 7 + "|",
    ]
    for row in rows:
        claim = row.claim
        room = "the same" if not row.deviation else f"{row.room:.1f}"
        cells = (
            *(plain(claim.name), expected(claim), tolerance(claim), number(row.mean)),
            *(f"{row.deviation:.2g}", room, f"{row.fails} of {len(row.numbers)}"),
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(argv: Sequence[str], package: str = "experiments", target: Path = PAGE) -> int:
    """Writes the page; 0."""
    options = parsed(Options, argv, prog="python -m experiments.tools.scatter")
    runs = defaultdict(list)
    for run in finished(options.results):
        if run.preset == options.preset:
            runs[run.name].append(run)
    storage.write_bytes(target, page(runs, options.preset, package).encode())
    print(target)
    return 0


if __name__ == "__main__":
    sys.exit(carried_out(lambda: main(sys.argv[1:])))
