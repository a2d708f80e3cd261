"""What the package returned before its rooms were moved, it returns now."""

import json
import re

import pandas as pd
import pytest

from tests.recorded.cases import CASES, FOLDER

pytestmark = pytest.mark.floating_point

# Iterations that end at a tolerance, and sums in float32, are the same to six digits.
SIX_DIGITS = (
    *("logistic", "linear_probe", "training", "network", "extracted", "old_files", "commands"),
    *("several_modules", "space_of_tasks"),  # read from a network in float32
)
MISSING = (None, "nan")  # pandas versions differ in how an absent word is held
# Adam turns the rounding of float32, which depends on the processor, into steps that differ.
TRAINED_IN_FLOAT32 = "json_of_commands / train / "

# What is called otherwise than when it was recorded: old -> new, of keys and of whole words. A key
# may be named with those that lead to it ("predictions / low"); the longest name decides.
RENAMED = {
    # Agreement
    "static": "is_baseline",
    # Models
    "accuracy_of_named": "accuracy_of_labelled_classes",
    "strength": "alpha",
    "strength_": "alpha_",
    "taps": "layers",
    "nameless": "missing_classes",
    # Learning curves, forecasts, studies, races and several modules
    "frame / accuracy": "value",
    "frame / accuracy_low": "value_low",
    "frame / accuracy_high": "value_high",
    "curve / accuracy": "value",
    "curve / accuracy_low": "value_low",
    "curve / accuracy_high": "value_high",
    # Rankings
    "predicted_accuracy": "predicted",
    "predictions / low": "predicted_low",
    "predictions / high": "predicted_high",
    "behind": "gap",
    "behind_low": "gap_low",
    "behind_high": "gap_high",
    "told_apart": "distinguishable",
    # Races and selections
    "certified / frame / rows": "examples",
    "halving / frame / rows": "examples",
    "race / results / rows": "examples",
    "race / results / accuracy": "value",
    "greedy / frame / low": "value_low",
    "greedy / frame / high": "value_high",
    "all / frame / low": "value_low",
    "all / frame / high": "value_high",
    # Words
    "e, the best of 3 with odds of 97 %; 120 labels cannot tell it apart from d.": (
        "e, the best of 3 with probability 97 %; with 120 labels not distinguishable from d."
    ),
    "forecast / labels_to_reach": "n_labels",
    "forecast / labels_to_reach_low": "n_labels_low",
    "forecast / labels_to_reach_high": "n_labels_high",
    # Races
    "race / settings / batch_size": "look_every",
    # Studies
    "label_efficiency_study / frame / accuracy_sd": "value_sd",
    "label_efficiency_study / frame / n_draws": "n_repeats",
    "draws / draw": "repeat",
    "draws / accuracy": "value",
    "savings / accuracy": "value",
    "area / low": "area_low",
    "area / high": "area_high",
    "codelength / low": "bits_low",
    "codelength / high": "bits_high",
    "surplus / low": "surplus_low",
    "surplus / high": "surplus_high",
    "study / settings / budgets": "n_labels",
    "study / results / accuracy": "value",
    "study / results / accuracy_sd": "value_sd",
    "study / results / accuracy_low": "value_low",
    "study / results / accuracy_high": "value_high",
    "study / results / n_draws": "n_repeats",
    "space / settings / score": "by",
    "train / settings / method": "schedule",
    "concordance / low": "concordance_low",
    "concordance / high": "concordance_high",
    "labels_to_reach / low": "n_labels_low",
    "labels_to_reach / high": "n_labels_high",
    "labels_to_reach / censored": "status",
}
# Columns that there were none of, by the keys that lead to them.
ADDED = {
    "score / settings / metric",
    "score by ridge / settings / metric",
    *("predictions / metric", "frame / metric", "curve / metric"),
    *(f"{table} / {name}" for table in ("draws", "results") for name in ("per_class", "metric")),
    "label_efficiency_study / frame / per_class",
    "forecast / status",
}


def endings(place):
    """Return a place and the ends of it, the longest first."""
    keys = place.split(" / ")
    return [" / ".join(keys[start:]) for start in range(len(keys))]


def in_new_words(key):
    """Return a key that states options, such as "lda, strength=1.0", with their names of today."""
    return re.sub(r"\bstrength\b", "alpha", key)


def renamed(recorded, place=""):
    """Return what was recorded with the keys and words of today; numbers of rows are no keys."""
    if isinstance(recorded, dict):
        places = {key: f"{place} / {key}" for key in recorded}
        names = {
            key: next((RENAMED[end] for end in endings(at) if end in RENAMED), in_new_words(key))
            for key, at in places.items()
        }
        return {names[key]: renamed(value, places[key]) for key, value in recorded.items()}
    if isinstance(recorded, list):
        return [renamed(value, place) for value in recorded]
    return RENAMED.get(recorded, recorded) if isinstance(recorded, str) else recorded


MEASURES = (
    *("weighted_tau", "weighted_tau_by_score", "kendall", "pearson"),
    *("regret", "regret_3", "regret_5"),
)


def in_long_form(recorded, name):
    """Return what was recorded with means and differences of agreement one row per measure.

    They were recorded with one row per score, and a column per measure and end of its interval.
    """
    agreement = {"agreement_of_scores": recorded}.get(name)
    agreement = recorded["agree"] if name == "json_of_commands" else agreement
    for table in ("means", "differences") if agreement else ():
        rows = agreement[table]
        is_frame = isinstance(rows, dict)
        rows = pd.DataFrame(rows).to_dict("records") if is_frame else rows
        rows = [one for row in rows for one in _by_measure(row)]
        agreement[table] = pd.DataFrame(rows).to_dict("list") if is_frame else rows
    return recorded


def _by_measure(row):
    """Return one row per measure of a row with a column per measure."""
    names = {key: row[key] for key in ("score", "baseline") if key in row}
    counts = {key: row[key] for key in ("n_tasks", "static") if key in row}
    for measure in MEASURES:
        value = {f"value{end}": row[f"{measure}{end}"] for end in ("", "_low", "_high")}
        yield {**names, "measure": measure, **value, **counts}


def without_added(found, place=""):
    """Return what is found now without the columns that were added since the recording."""
    if isinstance(found, dict):
        places = {key: f"{place} / {key}" for key in found}
        return {
            key: without_added(value, places[key])
            for key, value in found.items()
            if ADDED.isdisjoint(endings(places[key]))
        }
    return [without_added(value, place) for value in found] if isinstance(found, list) else found


def as_recorded(document, recorded):
    """Return the JSON of a command in the shape that it had: one level, keys in their order.

    Every document now has kind, settings, versions, seconds, columns, rows and extra. Before, what
    is under extra stood beside settings and the rows were "results", or "history" of a training;
    the accuracy of one output module was no row, its settings were no dict, and its interval was a
    pair; labels to reach an accuracy had the names of `named_as_recorded`.
    """
    rows, settings = document["rows"], document["settings"]
    flat = dict(document.get("extra", {}))
    if document["kind"] == "retraining":
        (row,) = rows
        flat |= settings | {f"accuracy{end}": row[f"value{end}"] for end in ("", "_low", "_high")}
    else:
        name = "history" if document["kind"] == "training_result" else "results"
        flat |= {"settings": settings, name: rows}
    if document["kind"] == "label_efficiency":
        words = {"reached": "", "more_than": "above", "below_first": "below"}
        flat["labels_to_reach"] = [
            {**row, "status": words[row["status"]]} for row in flat["labels_to_reach"]
        ]
    if "interval" in recorded:
        flat["interval"] = [flat.pop("accuracy_low"), flat.pop("accuracy_high")]
    return {key: flat[key] for key in recorded if key in flat} | flat


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
    recorded = renamed(in_long_form(recorded, name), name)
    if name == "json_of_commands":
        found = {word: as_recorded(found[word], recorded[word]) for word in recorded}
    assert list(differences(without_added(found, name), recorded, name)) == []


def test_the_comparison_finds_what_differs():
    recorded = {"a": [1.0, "x"], "logistic": 0.5}
    assert list(differences(recorded, recorded, "case")) == []
    found = {"a": [1.0 + 1e-7, "y"], "logistic": 0.5 + 1e-7}
    assert len(list(differences(found, recorded, "case"))) == 2
    assert len(list(differences({"a": [1.0]}, recorded, "case"))) == 2


def test_keys_and_words_of_the_recording_are_renamed_and_added_columns_left_out():
    recorded = {"predictions": [{"low": 0.1, "behind": 0.2}], "low": "predicted"}
    now = {"predictions": [{"predicted_low": 0.1, "gap": 0.2}], "low": "predicted"}
    assert renamed(recorded) == now
    now["predictions"][0]["metric"] = "accuracy"
    assert without_added(now) == renamed(recorded)


def test_every_case_is_recorded_in_little_room():
    files = [path for path in FOLDER.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    assert {path.stem for path in (FOLDER / "results").iterdir()} == set(CASES)
    assert sum(path.stat().st_size for path in files) < 2e6
