"""Claims as lines of text, and how many have which verdict."""

from collections import Counter
from collections.abc import Iterable

from .claims import Claim, Verdict

_MARKS: dict[Verdict, str] = {
    "holds": "ok",
    "fails": "FAIL",
    "below its aim": "below",
    "reported": "note",
}


def format_claims(claims: Iterable[Claim]) -> str:
    """One line a claim: verdict, name, measured and expected number, source."""
    lines = []
    for claim in claims:
        beside = "; ".join(part for part in (expectation(claim), claim.source) if part)
        line = f"  {_MARKS[claim.verdict]:5} {claim.name}: {claim.measured:.6g}"
        lines.append(f"{line} ({beside})" if beside else line)
    return "\n".join(lines)


def expectation(claim: Claim) -> str:
    """What the number is held to, as in "<= 2.5" or "== 1 within 0.01"; "" for no aim."""
    if claim.expected is None:
        return ""
    aim = "aim " if claim.kind == "reported" else ""
    unit = " of it" if claim.relative else ""
    tolerance = f" within {claim.tolerance:g}{unit}" if claim.tolerance else ""
    return f"{aim}{claim.relation} {claim.expected:.6g}{tolerance}"


def format_counts(verdicts: Iterable[Verdict]) -> str:
    """As in "12 hold, 1 fails, 3 are below their aim, 40 are reported"."""
    count = Counter(verdicts)
    return ", ".join(
        f"{count[verdict]} {one if count[verdict] == 1 else many}" for verdict, one, many in _VERBS
    )


_VERBS: tuple[tuple[Verdict, str, str], ...] = (
    ("holds", "holds", "hold"),
    ("fails", "fails", "fail"),
    ("below its aim", "is below its aim", "are below their aim"),
    ("reported", "is reported", "are reported"),
)
