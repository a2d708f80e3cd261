"""Values of public implementations on real features, wherever their definition is sound."""

import warnings

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.model_selection import train_test_split

from modtools.exceptions import ModtoolsWarning
from modtools.tasks import Task
from modtools.transferability import (
    hscore,
    leep,
    logme,
    nce,
    regularized_hscore,
    score,
    sfda,
    transrate,
)
from tests.transferability import definitions

pytestmark = pytest.mark.floating_point

# Relative differences are those of the peers: stopping rules (LogME), float32 products (H-score,
# TransRate), three power iterations for an eigenvalue (SFDA).
SOUND = [
    ("thuml_logme", lambda x, y: logme(x, y), 1e-5),
    ("thuml_logme_icml", lambda x, y: logme(x, y), 1e-4),
    ("tllib_logme", lambda x, y: logme(x, y), 1e-5),
    ("tllib_hscore", lambda x, y: hscore(x, y), 1e-5),
    ("parc_hscore", lambda x, y: hscore(x, y), 1e-5),
    ("tllib_reg_hscore", lambda x, y: regularized_hscore(x, y, between_divisor="n-1"), 1e-8),
    ("flair_hscore", lambda x, y: regularized_hscore(x, y, between_divisor="n-1"), 1e-6),
    ("tllib_transrate", lambda x, y: transrate(x, y, weights="uniform"), 1e-5),
    ("sfda_sfda", lambda x, y: sfda(x, y), 2e-2),
]


@pytest.mark.parametrize("name", ["lite0-d1__fashion-tops", "lite0-d2__digits"])
@pytest.mark.parametrize(("peer", "ours", "tolerance"), SOUND, ids=[row[0] for row in SOUND])
def test_moment_scores_agree_with_public_code(
    peer, ours, tolerance, name, reference_features, peer_values
):
    features, labels, _ = reference_features[name]
    assert ours(features, labels) == pytest.approx(peer_values[name][peer], rel=tolerance)


@pytest.mark.slow
@pytest.mark.real_modules("demo")
def test_scores_of_a_final_layer_agree_with_public_code_from_the_image_on(peer_values):
    """The whole way, pixels to score: 1078 rows, 1280 features, more features than rows."""
    from modtools.modules import efficientnet_lite, run

    digits = load_digits()
    images, _, labels, _ = train_test_split(
        digits.images.astype(np.float32) / 16,
        digits.target,
        test_size=0.4,
        stratify=digits.target,
        random_state=0,
    )
    task = Task(images, labels)
    module = efficientnet_lite(0)
    last = module.at(module.layers[-1])
    extraction = run(last, task)
    (features,) = extraction.features.values()
    peers = peer_values["lite0-final__digits"]
    probabilities = extraction.source_probabilities
    assert leep(probabilities, task.labels) == pytest.approx(peers["tllib_leep"], rel=1e-5)
    assert nce(probabilities, task.labels) == pytest.approx(peers["tllib_nce"], rel=1e-5)
    # thuml's default keeps d/2 log alpha where the rank counts: 1.151, 0.73 nats too high.
    assert logme(features, task.labels) == pytest.approx(peers["tllib_logme"], rel=1e-4)
    regularized = regularized_hscore(features, task.labels, between_divisor="n-1")
    assert regularized == pytest.approx(peers["tllib_reg_hscore"], rel=1e-4)
    uniform = transrate(features, task.labels, weights="uniform")
    assert uniform == pytest.approx(peers["tllib_transrate"], rel=1e-3)
    with pytest.warns(ModtoolsWarning, match="MT003"):
        assert hscore(features, task.labels) == pytest.approx(9.0, rel=1e-9)


DATA = {"iris": load_iris, "wine": load_wine, "breast cancer": load_breast_cancer}
BY_DEFINITION = [
    "hscore",
    "regularized_hscore",
    "logme",
    "transrate",
    "gbc",
    "lfc",
    "alignment",
    "centered_alignment",
    "hsic",
    "nhsic",
]


@pytest.mark.parametrize("data", list(DATA))
@pytest.mark.parametrize("name", BY_DEFINITION)
def test_the_definitions_hold_on_other_data(name, data):
    features, labels = DATA[data](return_X_y=True)
    features = (features - features.mean(axis=0)) / features.std(axis=0) + 0.3
    rows = np.random.default_rng(0).permutation(len(labels))[:60]
    features, labels = features[rows], labels[rows]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ModtoolsWarning)
        found = score(features, labels, [name])[name]
    expected = getattr(definitions, name)(features, labels)
    tolerance = 1e-6 if name == "logme" else 1e-8
    assert found == pytest.approx(expected, rel=tolerance, abs=tolerance)
