"""The wheel, installed outside the checkout, and the files that must agree with it."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import sigjax

ROOT = Path(__file__).parents[1]


def run(*command, **options):
    done = subprocess.run(command, capture_output=True, encoding="utf-8", **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder), cwd=ROOT)
    (path,) = folder.glob("*.whl")
    return path


def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert "sigjax/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert {name.split("/")[0] for name in names} == {
        "sigjax",
        f"sigjax-{sigjax.__version__}.dist-info",
    }


def test_installed_elsewhere_it_works(wheel, tmp_path):
    run(
        *(sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index"),
        *("--disable-pip-version-check", "--target", str(tmp_path / "site"), str(wheel)),
    )
    script = (
        "import jax, sigjax; "
        "print(sigjax.__file__, jax.grad(jax.nn.sigmoid)(17.), jax.grad(sigjax.sigmoid)(17.))"
    )
    elsewhere = {"PYTHONPATH": str(tmp_path / "site"), "PATH": ""}
    out = run(sys.executable, "-c", script, cwd=tmp_path, env=elsewhere)
    file, theirs, ours = out.split()
    assert Path(file).is_relative_to(tmp_path)
    assert float(theirs) == 0
    assert float(ours) == pytest.approx(4.1399375e-08, rel=1e-6)


def test_versions_agree():
    citation = (ROOT / "CITATION.cff").read_text("utf-8")
    assert re.search(rf"^version: {re.escape(sigjax.__version__)}$", citation, re.M)
    assert f"## {sigjax.__version__}" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_extras_are_those_promised():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = {"experiments", "test", "docs", "cuda12", "cuda13", "tpu"}
    assert set(project["optional-dependencies"]) == extras
    assert project["requires-python"] == ">=3.11"


def test_the_lock_pins_every_requirement_and_names_no_host():
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    assert "://" not in lock
    assert "--index" not in lock
    pinned = set(re.findall(r"^([a-z0-9-]+)==", lock, re.M))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    for requirement in project["dependencies"] + extras["experiments"] + extras["test"]:
        name = re.match(r"[a-z0-9-]+", requirement).group()
        assert name == "sigjax" or name in pinned, name


# The names under which packages are imported, where they are others than those they install by.
IMPORTED = {"scikit-learn": "sklearn", "pillow": "PIL", "ml-dtypes": "ml_dtypes"}
# Loaded only where somebody has them, or with what is declared.
NOT_NEEDED = {"torch", "cycler"}


@pytest.mark.parametrize(
    ("folder", "extras"),
    [("sigjax", ()), ("experiments", ("experiments",))],
)
def test_every_import_is_declared(folder, extras):
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    declared = list(project["dependencies"])
    for extra in extras:
        declared += project["optional-dependencies"][extra]
    names = {re.match(r"[a-z0-9-]+", requirement).group() for requirement in declared}
    known = {IMPORTED.get(name, name) for name in names} | {"sigjax", "experiments"} | NOT_NEEDED
    if folder == "sigjax":
        known |= {"matplotlib", "xarray"}  # what draws and converts reports, when it is asked to
    for path in (ROOT / folder).rglob("*.py"):
        missing = _imported(path) - known - sys.stdlib_module_names
        assert not missing, (path, missing)


def _imported(path):
    found = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(node.module.partition(".")[0])
    return found
