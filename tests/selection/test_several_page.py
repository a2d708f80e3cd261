"""The example of the page on several modules runs, and a combination is worth its members."""

import re
from pathlib import Path

from modtools.retraining import retrain

PAGE = Path(__file__).parents[2] / "docs" / "several_modules.md"


def test_the_example_of_the_page_runs():
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    names = {}
    for block in re.findall(r"^```python\n(.*?)^```", PAGE.read_text("utf-8"), re.M | re.S):
        exec(compile(block, PAGE.name, "exec"), names)
    plt.close("all")
    assert sorted(names["selection"].modules) == ["convolution", "pixels"]
    alone = retrain(names["pixels"](), names["few"]).accuracy(names["test"])
    assert names["model"].accuracy(names["test"]) > alone - 0.02
    assert names["output"].blocks == names["model"].output.blocks
