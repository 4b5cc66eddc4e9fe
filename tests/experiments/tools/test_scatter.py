"""What the page of seeds says, of numbers whose scatter is known."""

import json
import math

import pytest

from experiments.harness import stored
from experiments.harness.claims import Claim, reported
from experiments.harness.usage import UsageError
from experiments.tools import scatter


def claim(measured, **changed):
    fields = {"kind": "statistical", "tolerance": 3.0} | changed
    return Claim("a mean", "", 10.0, measured, **fields)


@pytest.fixture
def runs(tmp_path):
    """Writes a finished run of three claims for each seed."""

    def write(numbers, preset="quick"):
        for seed, measured in enumerate(numbers):
            folder = tmp_path / "results" / "isometry" / f"{preset}-seed{seed}"
            folder.mkdir(parents=True, exist_ok=True)
            told = {"experiment": "isometry", "preset": preset, "seed": seed}
            record = dict.fromkeys(stored._FIELDS, "") | told
            (folder / "provenance.json").write_text(json.dumps(record), "utf-8")
            claims = [claim(measured), reported("a time", "", seed), claim(1.0, kind="exact")]
            rows = json.dumps([each.to_json() for each in claims])
            (folder / "claims.json").write_text(rows, "utf-8")
        return tmp_path / "results"

    return write


def test_only_what_is_statistical_has_a_row_with_its_scatter(runs, tmp_path):
    target = tmp_path / "scatter.md"
    arguments = ["--results", str(runs([9.0, 10.0, 11.0, 14.0]))]
    assert scatter.main(arguments, target=target) == 0
    text = target.read_text("utf-8")
    # Their mean is 11, their variance 14 / 3; 13 would fail, as one of them does.
    deviation = math.sqrt(14 / 3)
    row = f"| a mean | = 10 | ± 3 | 11 | {deviation:.2g} | {2 / deviation:.1f} | 1 of 4 |"
    assert row in text
    assert "## isometry\n\nSeeds 0, 1, 2, 3." in text
    assert "a time" not in text
    assert text.count("a mean") == 1


@pytest.mark.parametrize(("relation", "room"), [("==", 2 / 2.0), ("<=", 2 / 2.0), (">=", 4 / 2.0)])
def test_room_is_counted_to_where_a_claim_fails(relation, room):
    numbers = (9.0, 11.0, 13.0)
    found = scatter.Scatter(claim(9.0, relation=relation), numbers, 0)
    assert found.deviation == 2
    assert found.room == room


def test_what_does_not_scatter_has_all_room_or_none():
    assert scatter.Scatter(claim(10.0), (10.0,) * 3, 0).room == math.inf
    assert scatter.Scatter(claim(14.0), (14.0,) * 3, 3).room == -math.inf


def test_too_few_seeds_or_another_preset_are_refused_before_the_page_is_touched(runs, tmp_path):
    target = tmp_path / "scatter.md"
    runs([1.0, 2.0, 3.0], preset="paper")
    with pytest.raises(UsageError, match="no experiment has 3 runs at its quick size"):
        scatter.main(["--results", str(runs([1.0, 2.0]))], target=target)
    assert not target.exists()
