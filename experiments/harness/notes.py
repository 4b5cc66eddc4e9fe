"""What an experiment's docstring says of its figure, for who reads the page."""

import re

from . import experiment

# The commands of TeX that the docstrings use.
_SIGNS = {
    "alpha": "α",
    "beta": "β",
    "chi": "χ",
    "delta": "δ",
    "pi": "π",
    "phi": "φ",
    "sigma": "σ",
    "xi": "ξ",
    "Lambda": "Λ",
    "le": "≤",
    "ge": "≥",
    "times": "×",
    "odot": "⊙",
    "pm": "±",
    "top": "T",
    "mathrm": "",
    "log": "log",
    "min": "min",
    "|": "‖",
    ",": " ",
}
_BRACED = r"\{([^{}]*)\}"


def notes(package: str, name: str) -> list[str]:
    """The paragraphs of an experiment's docstring below the first line, without its command.

    The experiment is read and not imported. Formulas come without TeX.

    Returns:
      Nothing for an experiment that the package has no more.
    """
    known = name in experiment.names(package)
    return _paragraphs(experiment.docstring(package, name)) if known else []


def _paragraphs(docstring: str) -> list[str]:
    found = []
    for paragraph in re.split(r"\n\s*\n", docstring)[1:]:
        kept = [
            line
            for line in paragraph.splitlines()
            if not line.startswith(("    ", "Command:"))  # indented: a command, too
        ]
        text = re.sub(r"\$([^$]*)\$", lambda formula: without_tex(formula[1]), " ".join(kept))
        if text:
            found.append(text.replace("`", ""))
    return found


def without_tex(formula: str) -> str:
    r"""A short formula as plain text: `\sqrt{\chi_1}` becomes √(χ_1)."""
    spaced = re.sub(r"\\(log|min)(?=\\)", r"\1 ", formula)
    text = re.sub(r"\\([A-Za-z]+|[|,])", _sign, spaced)
    text = re.sub(rf"\\frac{_BRACED}{_BRACED}", r"(\1)/(\2)", text)
    text = re.sub(rf"\\sqrt{_BRACED}", r"√(\1)", text)
    text = re.sub(r"\\sqrt (\w)", r"√\1", text)
    text = re.sub(rf"([\^_]){_BRACED}", r"\1(\2)", text)
    return re.sub(r"[{}]|(?<= ) +", "", text)


def _sign(command: re.Match[str]) -> str:
    return _SIGNS.get(command[1], command[0])
