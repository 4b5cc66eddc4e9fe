"""Settings of every test: runtime type checks, strict promotion, four devices, bounded examples."""

import collections
import gc
import os
import sys

import hypothesis
import jax
import jaxtyping
import pytest

# Before anything imports the package: every annotated function of it checks its arguments.
jaxtyping.install_import_hook("sigjax", "beartype.beartype")

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_num_cpu_devices", 4)

# See `optimized`; in the processes that tests start, too.
jax.config.update("jax_disable_most_optimizations", True)
os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] = "1"

# Tracing makes many objects that live long: Python's collector, by default, looks through all of
# them again and again (7 % of the time of test_export and stabilize).
gc.set_threshold(20_000, 50, 100)

# The first example of a shape compiles, so no deadline holds.
hypothesis.settings.register_profile("sigjax", deadline=None, max_examples=100, derandomize=True)
hypothesis.settings.load_profile("sigjax")


def pytest_addoption(parser):
    """Adds --slice."""
    parser.addoption("--slice", action="store_true", help="one quick test of every file")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Makes proofs of the cases that are not sampled; keeps a slice where --slice asks for it."""
    seen = collections.Counter()
    for item in items:
        marker = item.get_closest_marker("sampled")
        if marker is not None:
            every, first = (*marker.args, 0)[:2]
            if seen[item.path, item.originalname] % every != first:
                item.add_marker(pytest.mark.proof)
            seen[item.path, item.originalname] += 1
    if config.getoption("--slice"):
        kept = _slice(items)
        config.hook.pytest_deselected(items=[i for i in items if i not in kept])
        items[:] = [i for i in items if i in kept]


def pytest_collection_finish():
    """What all tests share lives to the end: the collector need not look through it again."""
    gc.collect()
    gc.freeze()


def _slice(items):
    """Of every file the test that is marked for it, else the first one."""
    left = [i for i in items if not any(i.get_closest_marker(name) for name in ("proof", "slow"))]
    first = {item.path: item for item in reversed(left)}
    marked = {item.path: item for item in reversed(left) if item.get_closest_marker("slice")}
    return set((first | marked).values())


@pytest.fixture(autouse=True, scope="module")
def programs_are_dropped():
    """No file finds programs that another has compiled, with other settings maybe.

    Nor does a worker come to the number of memory mappings that Linux allows a process (65,530):
    each compiled program holds some, and beyond it XLA ends with a segmentation fault.
    """
    yield
    jax.clear_caches()
    gc.collect()


@pytest.fixture(autouse=True)
def figures_are_closed():
    """A worker runs whole files, and pyplot warns of figures that pile up."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(scope="module")
def optimized(request):
    """Machine code as users have it, for files whose matter is rounding; not in a slice.

    Elsewhere, to optimise so many small programs takes longer than to run them. XLA's own passes,
    such as fusion and the partitioning over a mesh, are as ever.
    """
    jax.clear_caches()  # of what doctests have compiled
    jax.config.update("jax_disable_most_optimizations", request.config.getoption("--slice"))
    yield
    jax.config.update("jax_disable_most_optimizations", True)


@pytest.fixture
def standard_promotion():
    """What Flax's norms and attention need, which mix dtypes, and optax's Adam."""
    with jax.numpy_dtype_promotion("standard"):
        yield
