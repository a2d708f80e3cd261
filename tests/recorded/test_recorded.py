"""What the package returned before its rooms were moved, it returns now."""

import json

import pytest

from tests.recorded.cases import CASES, FOLDER

pytestmark = pytest.mark.floating_point

# Iterations that end at a tolerance, and sums in float32, are the same to six digits.
SIX_DIGITS = (
    *("logistic", "linear_probe", "training", "network", "extracted", "old_files", "commands"),
    "several_modules",
)
MISSING = (None, "nan")  # pandas versions differ in how an absent word is held
# Adam turns the rounding of float32, which depends on the processor, into steps that differ.
TRAINED_IN_FLOAT32 = "json_of_commands / train / "


def tolerance_at(place):
    """Return how far a number may be from the recorded one, of itself or of 1."""
    if place.startswith(TRAINED_IN_FLOAT32):
        return 1e-2
    return 1e-6 if any(word in place for word in SIX_DIGITS) else 1e-9


def differences(found, recorded, place):
    """Yield each place where two plain structures differ."""
    if isinstance(recorded, dict) and isinstance(found, dict):
        if list(found) != list(recorded):
            yield f"{place}: keys {list(found)}, recorded {list(recorded)}"
        for key in recorded.keys() & found.keys():
            yield from differences(found[key], recorded[key], f"{place} / {key}")
    elif isinstance(recorded, list) and isinstance(found, list) and len(found) == len(recorded):
        for number, (one, other) in enumerate(zip(found, recorded, strict=True)):
            yield from differences(one, other, f"{place} / {number}")
    elif isinstance(recorded, float) and isinstance(found, int | float):
        if abs(found - recorded) > tolerance_at(place) * max(1.0, abs(recorded)):
            yield f"{place}: {found}, recorded {recorded}"
    elif found != recorded and not (found in MISSING and recorded in MISSING):
        yield f"{place}: {found}, recorded {recorded}"


@pytest.mark.parametrize("name", CASES)
def test_results_are_those_of_the_recording(name):
    recorded = json.loads((FOLDER / "results" / f"{name}.json").read_text())
    found = json.loads(json.dumps(CASES[name]()))
    assert list(differences(found, recorded, name)) == []


def test_the_comparison_finds_what_differs():
    recorded = {"a": [1.0, "x"], "logistic": 0.5}
    assert list(differences(recorded, recorded, "case")) == []
    found = {"a": [1.0 + 1e-7, "y"], "logistic": 0.5 + 1e-7}
    assert len(list(differences(found, recorded, "case"))) == 2
    assert len(list(differences({"a": [1.0]}, recorded, "case"))) == 2


def test_every_case_is_recorded_in_little_room():
    files = [path for path in FOLDER.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert {path.stem for path in (FOLDER / "results").iterdir()} == set(CASES)
    assert sum(path.stat().st_size for path in files) < 2e6
