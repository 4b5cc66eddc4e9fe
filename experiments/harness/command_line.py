"""python -m experiments: list, run, figures, report, compare."""

import dataclasses
import difflib
import functools
import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import jax
import tyro

from . import devices, experiment, storage
from .claims import Claim
from .compare import compare, lines, write_comparison
from .figures import default_jobs, outcomes
from .flags import parsed
from .processes import Processes
from .program import carried_out, collect_seldom
from .report import write_report
from .runner import Run, measure_share, reused, run
from .sweep import Share
from .table import format_claims, format_counts
from .usage import UsageError

Preset = Literal["quick", "paper", "full"]


@dataclasses.dataclass(frozen=True)
class Common:
    """Options of `run` and `figures`."""

    preset: Preset = "quick"
    """The size: quick shows the effect on a laptop; paper has the papers' sizes, or the largest
    that two cores bear; full, where there is one, what that leaves out, for accelerators."""
    seed: int = 0
    """Seed of the random key that the experiment is given, from 0 to 2^64 - 1."""
    device: Literal["cpu", "gpu", "tpu"] | None = None
    """Where to compute; by default the best that JAX finds."""
    results: Path = Path("results")
    """Folder that results go to."""
    force: bool = False
    """Measure again what is there already."""
    reuse: bool = False
    """Take the newest result of the same configuration that other code or versions have made."""
    strict: bool = True
    """Exit with status 1 if a claim fails."""
    shard: str | None = None
    """I/N: measure only every Nth point, from the Ith on, beside other shards; then merge."""
    job: Processes = dataclasses.field(default_factory=Processes)
    """Many processes that compute as one."""


@dataclasses.dataclass(frozen=True)
class FiguresOptions:
    """Options of `figures`."""

    common: Common = dataclasses.field(default_factory=Common)
    """As for `run`."""
    jobs: int | None = None
    """Experiments at a time; by default 2 on a CPU, else 1. What measures time runs alone."""


@dataclasses.dataclass(frozen=True)
class ReportOptions:
    """Options of `report`."""

    results: Path = Path("results")
    """Folder that holds the results."""


@dataclasses.dataclass(frozen=True)
class CompareOptions:
    """Options of `compare`, which exits with status 1 if something changed beyond tolerance."""

    first: tyro.conf.Positional[Path]
    """Folder of results, or of one run."""
    second: tyro.conf.Positional[Path]
    """The folder to compare it with."""
    html: Path | None = None
    """File to write a page to, with the figures side by side."""


def main(argv: Sequence[str], package: str = "experiments") -> int:
    """Carries out one command.

    Returns:
      The exit status: 0; 1 if a claim failed, or `compare` found a change; 2 if the request could
      not be carried out; 130 if it was interrupted. If one of several processes that compute as
      one dies, the others end with 3, or are ended by JAX, within `processes.SECONDS_TO_DEATH` and
      ten seconds more.
    """
    _keep_compiled_programs()
    try:
        return carried_out(lambda: _dispatch(list(argv), package))
    except jax.errors.JaxRuntimeError as error:
        if jax.process_count() == 1:
            raise
        reason = str(error).partition("\n")[0]
        print(
            f"error: the {jax.process_count()} processes lost each other, most likely because one "
            f"died ({reason}); the same command goes on from the last point",
            file=sys.stderr,
            flush=True,
        )
        os._exit(3)  # an orderly end would wait for the process that died


def _keep_compiled_programs() -> None:
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        folder = Path(__file__).parents[2] / ".cache" / "jax"
        jax.config.update("jax_compilation_cache_dir", str(folder))


_USAGE = """usage: python -m experiments COMMAND

  list                  the experiments, a line each
  run NAME [flags]      run one; `run NAME --help` lists its flags
  merge NAME [flags]    finish a run whose points were measured with --shard
  figures [flags]       run all, then report
  report [--results D]  write index.html over the results that are there
  compare A B           two folders of results, or of a run: what changed beyond tolerance
"""


def _dispatch(argv: list[str], package: str) -> int:
    if not argv or argv[0] in ("-h", "--help"):
        print(_USAGE, end="")
        return 0 if argv else 2
    command, *rest = argv
    commands = {
        "list": _list,
        "run": _run,
        "merge": _merge,
        "figures": _figures,
        "report": _report,
        "compare": _compare,
    }
    if command not in commands:
        near = difflib.get_close_matches(command, commands, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"unknown command {command!r}{hint}\n{_USAGE}")
    return commands[command](rest, package)


def _list(argv: list[str], package: str) -> int:
    if argv:
        raise UsageError(f"list takes no arguments, got {' '.join(argv)}")
    width = max(map(len, experiment.names(package)))
    for theme, members in experiment.themes(package).items():
        print(f"{theme:{width + 2}}  quick   paper")
        for name in members:
            text = experiment.docstring(package, name)
            stated = [experiment.stated_time(text, preset) for preset in ("quick", "paper")]
            quick, paper = (f"{number} {unit}" if number else "" for number, unit in stated)
            print(f"  {name:{width}} {quick:>6} {paper:>7}  {experiment.summary(text)}")
    return 0


def _run(argv: list[str], package: str) -> int:
    return _one(argv, package, "run")


def _merge(argv: list[str], package: str) -> int:
    return _one(argv, package, "merge")


def _one(argv: list[str], package: str, command: str) -> int:
    if not argv or argv[0].startswith("-"):
        known = ", ".join(experiment.names(package))
        raise UsageError(f"{command} needs the name of an experiment. There are: {known}")
    name, *flags = argv
    module = experiment.load(package, name)
    flat: Any = tyro.conf.OmitArgPrefixes
    arguments: Any = dataclasses.make_dataclass(
        "Arguments", [("common", flat[Common]), ("config", flat[module.Config])]
    )
    # The preset must be known before its flags can be: it gives their defaults.
    default = arguments(common=Common(), config=_config(module, _preset(flags)))
    request = parsed(
        arguments,
        flags,
        default=default,
        prog=f"python -m experiments {command} {name}",
        description=module.__doc__,
    )
    _prepare(request.common)
    claims = _carry_out(module, request.config, request.common, merge=command == "merge")
    return _status(claims, request.common)


def _prepare(common: Common) -> None:
    collect_seldom()
    common.job.join()
    devices.choose(common.device)


def _preset(flags: list[str]) -> str:
    found = "quick"
    for flag, following in itertools.pairwise([*flags, ""]):
        if flag == "--preset":
            found = following
        elif flag.startswith("--preset="):
            found = flag.partition("=")[2]
    return found


def _config(module: experiment.Experiment, preset: str) -> Any:
    if preset == "full" and not _has_full(module):
        name = module.__name__.rpartition(".")[2]
        raise UsageError(f"{name} has no preset full: paper leaves nothing out")
    known = preset if preset in get_args(Preset) else "quick"  # the parser refuses others
    return getattr(module.Config, known)()


def _has_full(module: experiment.Experiment) -> bool:
    return hasattr(module.Config, "full")


def _carry_out(
    module: experiment.Experiment, config: Any, common: Common, *, merge: bool = False
) -> list[Claim]:
    request = Run(module, config, common.preset, common.seed, common.results)
    if common.reuse:
        if common.force or common.shard is not None:
            raise UsageError("--reuse goes with neither --force nor --shard")
        if jax.process_index() == 0:  # the one that reads and writes the folder
            request = reused(request)
    if common.shard is not None:
        if merge or common.force:
            raise UsageError("--shard goes with neither merge nor --force")
        told = measure_share(request, Share.parse(common.shard))
        if jax.process_index() == 0:
            print(f"{request.name}: {told}", flush=True)
        return []
    claims = run(request, force=common.force, merge=merge)
    if jax.process_index() == 0:
        print(f"{request.name}: {request.folder}")
        table = request.folder / "table.md"
        if table.exists():
            print(table.read_text("utf-8"))
        print(format_claims(claims), flush=True)
    return claims


def _status(claims: list[Claim], common: Common) -> int:
    return int(common.strict and any(claim.verdict == "fails" for claim in claims))


def _figures(argv: list[str], package: str) -> int:
    options = parsed(
        tyro.conf.OmitArgPrefixes[FiguresOptions], argv, prog="python -m experiments figures"
    )
    common = options.common
    _prepare(common)
    jobs = default_jobs() if options.jobs is None else options.jobs
    if jobs < 1:
        raise UsageError(f"--jobs must be at least 1, got {jobs}")
    claims: list[Claim] = []
    broken: list[str] = []
    task = functools.partial(_one_of_the_figures, package=package, common=common)
    prepare = functools.partial(_begin_worker, common.device)
    for outcome in outcomes(package, task, jobs, prepare):
        print(outcome.printed, end="", flush=True)
        claims += outcome.claims
        if outcome.trace:
            print(outcome.trace, file=sys.stderr)
            broken.append(outcome.name)
    if jax.process_index() == 0:
        print(f"report: {write_report(common.results, package)}")
        print(f"claims: {format_counts(claim.verdict for claim in claims)}")
    if broken:
        raise UsageError(f"these experiments broke off: {', '.join(broken)}")
    return _status(claims, common)


def _begin_worker(device: str | None) -> None:
    collect_seldom()
    _keep_compiled_programs()
    devices.choose(device)


def _one_of_the_figures(name: str, *, package: str, common: Common) -> list[Claim]:
    module = experiment.load(package, name)
    if common.preset == "full" and not _has_full(module):
        common = dataclasses.replace(common, preset="paper")
    return _carry_out(module, _config(module, common.preset), common)


def _report(argv: list[str], package: str) -> int:
    options = parsed(ReportOptions, argv, prog="python -m experiments report")
    if not options.results.is_dir():
        raise UsageError(f"there is no folder {options.results}; run an experiment first")
    print(f"report: {write_report(options.results, package)}")
    return 0


def _compare(argv: list[str], package: str) -> int:
    del package
    options = parsed(CompareOptions, argv, prog="python -m experiments compare")
    comparisons = compare(options.first, options.second)
    print("\n".join(lines(comparisons)))
    if options.html is not None:
        storage.make_folder(options.html.parent)
        print(f"page: {write_comparison(options.html, comparisons)}")
    return 0 if comparisons.is_unchanged else 1
