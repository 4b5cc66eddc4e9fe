"""The notebooks of the documentation run; reference and README name what there is."""

import re
from pathlib import Path

import jax
import matplotlib
import matplotlib.pyplot as plt
import pytest

import sigjax

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
NOTEBOOKS = sorted(p for p in DOCS.glob("*.md") if "{code-cell}" in p.read_text("utf-8"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_from_top_to_bottom(path):
    matplotlib.use("Agg")
    cells = re.findall(
        r"^```\{code-cell\}\n(.*?)^```", path.read_text("utf-8"), re.DOTALL | re.MULTILINE
    )
    names = {"__name__": "__main__"}
    for cell in cells:
        with jax.numpy_dtype_promotion("standard"):  # what its readers have
            exec(compile(cell, path.name, "exec"), names)
    plt.close("all")


def documented(part):
    """The names under the directives of a page of the reference."""
    text = (DOCS / "api" / f"{part}.md").read_text("utf-8")
    return re.findall(r"^\.\. auto(?:function|class|data):: (\w+)$", text, re.MULTILINE)


def exported(part):
    module = getattr(sigjax, part)
    names = getattr(module, "__all__", [n for n in vars(module) if not n.startswith("_")])
    return {n for n in names if callable(getattr(module, n))}


PARTS = (
    "functional", "losses", "initializers", "nn", "theory", "probe", "calibration", "dynamics",
)  # fmt: skip


@pytest.mark.parametrize("part", PARTS)
def test_the_reference_documents_what_is_exported_once(part):
    names = documented(part)
    assert len(names) == len(set(names))
    assert {n for n in names if callable(getattr(getattr(sigjax, part), n))} == exported(part)


@pytest.mark.parametrize("part", PARTS)
def test_the_page_of_names_has_what_is_exported(part):
    assert exported(part)
    assert exported(part) <= set(re.findall(r"`(\w+)", (DOCS / "names.md").read_text("utf-8")))


def test_every_name_of_sigjax_itself_is_documented():
    functions = {n for n in vars(sigjax) if callable(getattr(sigjax, n)) and not n.startswith("_")}
    on_pages = {name for part in ("functional", "stabilize", "cite") for name in documented(part)}
    assert functions == on_pages


def test_every_page_is_in_a_table_of_contents():
    text = (DOCS / "index.md").read_text("utf-8")
    pages = {str(p.relative_to(DOCS).with_suffix("")) for p in DOCS.glob("**/*.md")} - {"index"}
    pages = {page for page in pages if not page.startswith("_build")}
    assert pages == set(re.findall(r"^(?:api/)?\w+$", text, re.MULTILINE))
