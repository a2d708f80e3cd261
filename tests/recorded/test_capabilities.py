"""Whatever a user of version 0.1 could name is there today, by that name or by another."""

import json
import re
from pathlib import Path

import pytest

from tests.recorded.capabilities import capabilities

RECORDED = Path(__file__).parent / "capabilities.json"
# A name of today, in the same room or command, or after "dropped: " what to use instead. Arguments
# of what is renamed keep their names unless they stand here too.
RENAMED_OR_DROPPED = {
    # Modules
    "CombinedModule.n_parameters(tap)": "CombinedModule.n_parameters(layer)",
    "CombinedModule.taps": "CombinedModule.layers",
    "EFFICIENTNET_LITE_TAPS": "EFFICIENTNET_LITE_LAYERS",
    "PretrainedModule(tap)": "PretrainedModule(layers)",
    "PretrainedModule.at(tap)": "PretrainedModule.at(layers)",
    "PretrainedModule.inner_module(tap)": "PretrainedModule.inner_module(layer)",
    "PretrainedModule.n_parameters(tap)": "PretrainedModule.n_parameters(layer)",
    "efficientnet_lite(taps)": "efficientnet_lite(layers)",
    "Cache": "dropped: the argument cache= names the folder, clear_cache empties it",
    "Extraction": "dropped: ModuleCollection.features gives the facts beside the features",
    "extract_members": "dropped: ModuleCollection.features goes through all members",
    "run": "dropped: ModuleCollection.features gives source probabilities in the same pass",
    # Output modules
    "ClassMeanOutput(pool)": "ClassMeanOutput.fit(unlabelled)",
    "ClassMeanOutput.is_nameless": "ClassMeanOutput.is_unassigned",
    "ClassMeanOutput.nameless_clusters": "ClassMeanOutput.unassigned_clusters",
    "LogisticOutput(strength)": "LogisticOutput(alpha)",
    "RidgeOutput(strength)": "RidgeOutput(alpha)",
    "RidgeRegressionOutput(strength)": "RidgeRegressionOutput(alpha)",
    # Scores
    "lda(strength)": "lda(alpha)",
    "logistic(strength)": "logistic(alpha)",
    "ridge(strength)": "ridge(alpha)",
    "score_moments": "Moments.score",
    "score_moments(moments)": "Moments.score",
    # Selection
    "ACCURACIES": "dropped: SCORES[name].is_accuracy, which scores of one's own can have too",
    "PREDICTED": 'dropped: by="predicted"',
    "race_modules(batch_size)": "race_modules(look_every)",
    "Selection(shelf)": "Selection(candidates)",
    "select_modules(budget)": "select_modules(max_cost)",
    # Training
    "TrainingResult(run)": "dropped: the trainer holds it; train_modular makes the result",
    "TrainingResult(taps)": "TrainingResult(layers)",
    # Retraining
    "LearningCurve(strength)": "LearningCurve(alpha)",
    "ReusedModel(nameless)": "ReusedModel(missing_classes)",
    "ReusedModel.accuracy(only_named)": "ReusedModel.accuracy(only_labelled_classes)",
    "ReusedModel.decision_values": "ReusedModel.decision_function",
    "ReusedModel.nameless_clusters": "ReusedModel.unassigned_clusters",
    "choose_labels(strength)": "choose_labels(alpha)",
    "learning_curve(pool)": "learning_curve(unlabelled)",
    "learning_curve(strength)": "learning_curve(alpha)",
    "retrain(allow_nameless)": "retrain(allow_missing_classes)",
    "retrain(pool)": "retrain(unlabelled)",
    # Studies
    "Agreement.plot(budget)": "Agreement.plot(n_labels)",
    "DistanceAgreement(high)": "DistanceAgreement(spearman_high)",
    "DistanceAgreement(low)": "DistanceAgreement(spearman_low)",
    "LabelEfficiency.draws": "LabelEfficiency.repeats",
    "LabelEfficiencyDisplay(draws)": "LabelEfficiencyDisplay(repeats)",
    "label_efficiency(budgets)": "label_efficiency(n_labels)",
    "score_agreement(static)": "score_agreement(baselines)",
    "score_agreement(truth)": "score_agreement(achieved)",
    "task_space(score)": "task_space(by)",
    # Commands
    "agree(--static)": "agree(--baselines)",
    "agree(--truth)": "agree(--achieved)",
    "retrain(--allow-nameless)": "retrain(--allow-missing-classes)",
    "retrain(--pool)": "retrain(--unlabelled)",
    "retrain(--tap)": "retrain(--layer)",
    "score(--tap)": "score(--layer)",
    "space(--score)": "space(--by)",
    "space(--tap)": "space(--layer)",
    "study(--budgets)": "study(--n-labels)",
    "study(--tap)": "study(--layer)",
    "train(--budget)": "train(--max-seconds)",
    "train(--modules)": "train(--at)",
}
DROPPED = "dropped: "


def names_in(found):
    """Yield the room and the name of all that can be named, such as ``score(groups)``."""
    for room, entries in found.items():
        for name, entry in entries.items() if isinstance(entries, dict) else ():
            yield room, name
            if isinstance(entry, list):  # the options of a command
                yield from ((room, f"{name}({option})") for option in entry)
            if isinstance(entry, dict):
                yield from ((room, f"{name}({word})") for word in entry.get("arguments", ()))
                yield from ((room, f"{name}[{word}]") for word in entry.get("entries", ()))
                for member, words in entry.get("members", {}).items():
                    yield room, f"{name}.{member}"
                    yield from ((room, f"{name}.{member}({word})") for word in words)


def name_of_today(name):
    """Return what a name of version 0.1 is called today."""
    whole = RENAMED_OR_DROPPED.get(re.match(r"[^(\[.]+", name)[0], "")
    if whole.startswith(DROPPED):
        return whole
    owner = re.match(r"[^(\[]+", name)[0]
    renamed = RENAMED_OR_DROPPED.get(owner, owner) + name.removeprefix(owner)
    return RENAMED_OR_DROPPED.get(name, renamed)


@pytest.fixture(scope="module")
def recorded():
    return set(names_in(json.loads(RECORDED.read_text())))


@pytest.fixture(scope="module")
def today():
    return set(names_in(json.loads(json.dumps(capabilities()))))


def test_every_name_of_the_recording_is_there_renamed_or_dropped_for_a_reason(recorded, today):
    names = {(room, name_of_today(name)) for room, name in recorded}
    assert sorted(entry for entry in names - today if not entry[1].startswith(DROPPED)) == []


def test_only_names_that_are_gone_are_listed(recorded, today):
    gone = {name for _, name in recorded} - {name for _, name in today}
    assert sorted(set(RENAMED_OR_DROPPED) - gone) == []


STUDIES = json.loads((RECORDED.parent / "figure_names.json").read_text())["case_studies"]


@pytest.mark.parametrize("study", STUDIES)
def test_figures_of_case_studies_keep_their_names(study):
    results = Path(__file__).parents[2] / "case_studies" / study / "results"
    assert set(json.loads((results / "figures.json").read_text())) >= set(STUDIES[study])
