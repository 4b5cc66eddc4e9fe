"""Every reference of a docstring can be cited, and nothing else is."""

import re

import pytest

import sigjax
from sigjax import _cite

PARTS = ("functional", "losses", "initializers", "nn", "theory", "calibration", "dynamics")


def documented():
    """Public objects with a section of references that has a year."""
    found = {}
    for part in PARTS:
        module = getattr(sigjax, part)
        for name, value in vars(module).items():
            section = (getattr(value, "__doc__", None) or "").partition("References:")[2]
            if not name.startswith("_") and re.search(r"\b(19|20)\d\d\b", section):
                found[f"{part}.{name}"] = value
    return found


def printed(capsys, *used):
    sigjax.cite(*used)
    return re.findall(r"^@\w+\{([\w-]+),", capsys.readouterr().out, re.MULTILINE)


def test_without_arguments_the_software_is_cited(capsys):
    assert printed(capsys) == ["sigjax"]


@pytest.mark.parametrize("thing", documented().values(), ids=documented().keys())
def test_every_documented_reference_has_an_entry(thing, capsys):
    section = thing.__doc__.partition("References:")[2]
    keys = printed(capsys, thing)
    years = set(re.findall(r"(?<![-:])\b(?:19|20)\d\d\b(?!-)", section))  # no pages
    assert {key[-4:] for key in keys[1:]} == years


def test_no_entry_is_an_orphan(capsys):
    keys = printed(capsys, *documented().values())
    assert len(keys) == 1 + len(_cite._entries())
    assert len(set(keys)) == len(keys)


def test_a_year_of_one_and_an_author_of_another_make_no_reference(capsys):
    # Hochreiter (1997) and Jacobs et al. (1991), not Hochreiter's thesis of 1991
    keys = printed(capsys, sigjax.nn.LSTMCell, sigjax.nn.SoftSwitch)
    assert {"hochreiter1997", "jacobs1991"} <= set(keys)
    assert "hochreiter1991" not in keys


def test_objects_and_modules_stand_for_what_they_are_made_of(capsys):
    assert printed(capsys, sigjax.dynamics.SleepWake()) == [
        "sigjax",
        "phillips2007",
        "phillips2008",
    ]
    assert "platt1999" in printed(capsys, sigjax.calibration)


@pytest.mark.parametrize("thing", ["sigmoid", max, re])
def test_strangers_are_refused(thing):
    with pytest.raises(TypeError, match=r"sigjax\.cite: argument 'things' must be .* got"):
        sigjax.cite(thing)


def test_entries_are_well_formed():
    for entry in _cite._entries():
        assert entry.count("{") == entry.count("}")
        key, surname, year = (
            re.search(pattern, entry)[1]
            for pattern in (r"^@\w+\{([\w-]+),", r"author = \{([^,]+),", r"year = \{(\d+)\}")
        )
        assert key == surname.lower() + year
        assert "title = {" in entry
