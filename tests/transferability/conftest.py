"""Features of real modules and what other tools return on them."""

import json
from pathlib import Path

import numpy as np
import pytest

REFERENCE = Path(__file__).parents[1] / "fixtures" / "reference"


@pytest.fixture(scope="session")
def reference_features():
    """Features of EfficientNet-Lite0 blocks: {name: (features, labels, probabilities or None)}."""
    found = {}
    for path in sorted(REFERENCE.glob("*.npz")):
        with np.load(path) as arrays:
            found[path.stem] = (arrays["X_train"], arrays["y_train"], arrays.get("P_train"))
    return found


@pytest.fixture(scope="session")
def peer_values():
    """{name of the features: {public implementation: value}}; None where it failed."""
    return json.loads((REFERENCE / "peer_values.json").read_text(encoding="utf-8"))
