"""Docstrings as text for a page."""

import pytest

from experiments.harness import experiment
from experiments.harness.notes import notes, without_tex


@pytest.mark.parametrize(
    ("formula", "text"),
    [
        (r"\sqrt{\chi_1}", "√(χ_1)"),
        (r"\|W\|_2/4", "‖W‖_2/4"),
        (r"\log\frac{p}{1-p}", "log (p)/(1-p)"),
        (r"\sigma(b)^{50}", "σ(b)^(50)"),
        (r"y = g\,W_1 x", "y = g W_1 x"),
        (r"\min(|z|, \log \sigma)", "min(|z|, log σ)"),
        (r"-8 r \mathrm{softplus}(\Lambda) \odot x", "-8 r softplus(Λ) ⊙ x"),
        (r"n^{0.5 \pm 0.05} / \sqrt d", "n^(0.5 ± 0.05) / √d"),
        (r"\unknown", r"\unknown"),
        ("1 - z", "1 - z"),
    ],
)
def test_formulas(formula, text):
    assert without_tex(formula) == text


def test_what_stands_below_the_first_line(package):
    (note,) = notes(package, "squares")
    assert note.startswith("Time on 2 CPU cores: quick 2 s, paper 1 minute. It must show that")
    assert notes(package, "gone") == []


def test_every_experiment_of_the_project_has_some_without_tex_or_command():
    for name in experiment.names("experiments"):
        found = notes("experiments", name)
        assert found, name
        assert not any(mark in text for text in found for mark in ("\\", "$", "`", "python -m"))
