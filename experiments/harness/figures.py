"""Every experiment of a package: several at a time, those that measure time by themselves."""

import concurrent.futures
import contextlib
import dataclasses
import io
import multiprocessing
import os
import signal
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence

import jax
import matplotlib

from . import experiment
from .claims import Claim
from .streams import make_streams_usable
from .usage import UsageError

Task = Callable[[str], list[Claim]]
"""Carries out the experiment of a name, printing what there is to see."""


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of one experiment: its claims, or why there are none."""

    name: str
    claims: list[Claim]
    printed: str = ""
    trace: str = ""


def outcomes(package: str, task: Task, jobs: int, prepare: Callable[[], None]) -> Iterator[Outcome]:
    """Carries out `task` for every experiment, as each is done.

    Args:
      package: where the experiments are.
      task: what to do; with several jobs it is pickled.
      jobs: processes that work side by side, each with a JAX of its own.
      prepare: what such a process does first; pickled too.

    Raises:
      UsageError: the first that an experiment meets; those that are at work are stopped.
    """
    modules = {name: experiment.load(package, name) for name in experiment.names(package)}
    alone = list(modules)
    if jobs > 1:
        alone = [name for name, module in modules.items() if getattr(module, "TIMED", False)]
        # The longest first, so that no process is left to work alone at the end.
        rest = sorted(modules.keys() - alone)
        rest.sort(key=lambda name: -experiment.stated_seconds(modules[name].__doc__, "quick"))
        yield from _side_by_side(rest, task, jobs, prepare)
    for name in alone:
        yield _attempt(name, task)


def default_jobs() -> int:
    """Two on a CPU, where one experiment compiles while another computes; else one.

    An accelerator's memory is for one process, and processes that compute as one stay in step.
    """
    one_cpu = jax.default_backend() == "cpu" and jax.device_count() == 1
    return 2 if one_cpu and (os.cpu_count() or 1) > 1 else 1


def _attempt(name: str, task: Task) -> Outcome:
    try:
        return Outcome(name, task(name))
    except UsageError:
        raise
    except jax.errors.JaxRuntimeError:
        if jax.process_count() > 1:
            raise  # another process died: nothing can follow
        return Outcome(name, [], trace=traceback.format_exc())
    except Exception:  # one broken experiment must not cost the others' figures
        return Outcome(name, [], trace=traceback.format_exc())


def _captured(name: str, task: Task) -> Outcome:
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        outcome = _attempt(name, task)
    return dataclasses.replace(outcome, printed=printed.getvalue())


def _side_by_side(
    names: Sequence[str], task: Task, jobs: int, prepare: Callable[[], None]
) -> Iterator[Outcome]:
    pool = concurrent.futures.ProcessPoolExecutor(
        jobs, multiprocessing.get_context("spawn"), _begin, (prepare,)
    )
    try:
        with _deaf_to_interrupts():
            waiting = [pool.submit(_captured, name, task) for name in names]
        for done in concurrent.futures.as_completed(waiting):
            yield done.result()
    finally:
        # Also on Ctrl-C: finished points are on the disk, the rest is measured again.
        for process in list((pool._processes or {}).values()):
            if not all(future.done() for future in waiting):
                process.terminate()
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def _deaf_to_interrupts() -> Iterator[None]:
    """Workers started here ignore Ctrl-C: the parent is interrupted and ends them."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _begin(prepare: Callable[[], None]) -> None:
    make_streams_usable()
    matplotlib.use("Agg")
    threading.Thread(target=_end_with_parent, daemon=True).start()
    prepare()


def _end_with_parent() -> None:
    """Ends a worker when its parent has ended, however it was killed.

    Else the worker would go on, and hold the locks of its folders.
    """
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)
