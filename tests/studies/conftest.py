import numpy as np
import pytest


def make_data(n_pool=90, n_test=70, n_classes=3, seed=0):
    """Return ({name: (train_features, test_features)}, labels, test_labels)."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, n_classes, n_pool + n_test)
    centres = rng.normal(size=(n_classes, 6))
    modules = {}
    for name, noise in {"clear": 0.8, "noisy": 2.0}.items():
        features = (centres[labels] + noise * rng.normal(size=(len(labels), 6))).astype(np.float32)
        modules[name] = (features[:n_pool], features[n_pool:])
    return modules, labels[:n_pool], labels[n_pool:]


@pytest.fixture(scope="session")
def data():
    return make_data()
