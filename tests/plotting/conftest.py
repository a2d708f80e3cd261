import pytest


@pytest.fixture(autouse=True)
def headless_figures():
    """Draw without a screen and close what a test leaves open."""
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    yield
    plt.close("all")
