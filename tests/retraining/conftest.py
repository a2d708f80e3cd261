import pytest

from modtools.modules import pixels
from modtools.retraining import retrain


@pytest.fixture(scope="session")
def parts(digits):
    """Return 40 labelled digits and 100 others to test on."""
    train = digits.few_labels(per_class=4, seed=0)
    return train, digits.complement(train).few_labels(per_class=10, seed=0)


@pytest.fixture(scope="session")
def model(parts):
    return retrain(pixels(), parts[0], output="ridge")
