"""The page on retraining: its example runs and gives what it says, its tables are complete."""

import re
from pathlib import Path

from modtools.retraining._choose import STRATEGIES
from modtools.retraining._retrain import OUTPUTS

PAGE = (Path(__file__).parents[2] / "docs" / "retraining.md").read_text(encoding="utf-8")


def test_the_example_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    [block] = re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
    names = {}
    exec(compile(block, "retraining.md", "exec"), names)
    assert names["model"].n_labels == 60
    assert names["model"].accuracy(names["test"]) > 0.75
    assert names["half"].missing_classes.tolist() == [5, 6, 7, 8, 9]
    assert (tmp_path / "my-model" / "card.json").is_file()
    logits = names["network"](names["test"].inputs[:3])
    assert logits.shape == (3, 10)


def test_tables_name_every_output_module_and_strategy():
    named = re.findall(r"^\| `(\w+)`", PAGE, flags=re.MULTILINE)
    assert sorted(named) == sorted([*OUTPUTS, *STRATEGIES, "oracle_balanced"])
