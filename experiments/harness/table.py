"""Claims as lines of text."""

from collections.abc import Iterable

from .claims import Claim

_MARKS = {"holds": "ok  ", "fails": "FAIL", None: "note"}


def format_claims(claims: Iterable[Claim]) -> str:
    """One line a claim: verdict, name, measured and expected number, source."""
    lines = []
    for claim in claims:
        tolerance = f" within {claim.tolerance:g}" if claim.tolerance else ""
        unit = " of it" if claim.tolerance and claim.relative else ""
        lines.append(
            f"  {_MARKS[claim.verdict]}  {claim.name}: {claim.measured:.6g} "
            f"({claim.relation} {claim.expected:.6g}{tolerance}{unit}; {claim.source})"
        )
    return "\n".join(lines)
