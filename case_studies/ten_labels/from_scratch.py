"""The baseline: the same network trained end to end from scratch with few labels, tuned.

A setting is kept where it is best on held-out training rows. That is more than anyone with ten
labels could do (2,000 further labels are read), so it favours the baseline. Training is counted in
steps, not in seconds, so that other work on the machine changes nothing.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from modtools._writing import json_text, write_file
from modtools.modules import image_preprocess
from modtools.training import Augmentation, Recipe, train_end_to_end

PREPROCESS = image_preprocess(mean=0.286, std=0.353, channels=1)
TUNING_DRAW = 100  # none of the reported draws


@dataclass(frozen=True)
class Settings:
    """All that decides one training from scratch, the labelled rows included."""

    n_labels: int
    draw: int
    steps: int
    batch_size: int
    learning_rate: float = 6e-3
    shift: int = 0
    flip: bool = False
    held_out: bool = True  # accuracy on held-out training rows, else on the test rows

    @property
    def name(self) -> str:
        """Name of the file that keeps the result."""
        flip = "-flip" if self.flip else ""
        rows = "held_out" if self.held_out else "test"
        return (
            f"{self.n_labels}-labels-{self.steps}-steps-rate-{self.learning_rate:g}"
            f"-shift-{self.shift}{flip}-draw-{self.draw}-{rows}"
        )


# What is varied, one after the other, each around the best so far: the number of steps first,
# because what augmentation is worth depends on it.
STEPS = {10: (100, 300, 1000), 100: (100, 300, 1000), 1000: (200, 600)}
VARIED: tuple[list[dict[str, Any]], ...] = (
    [
        {"shift": 0, "flip": False},
        {"shift": 2, "flip": False},
        {"shift": 2, "flip": True},
        {"shift": 4, "flip": True},
    ],
    [{"learning_rate": rate} for rate in (2e-3, 6e-3)],
)
STARTS = (
    Settings(10, TUNING_DRAW, steps=STEPS[10][0], batch_size=10),
    Settings(100, TUNING_DRAW, steps=STEPS[100][0], batch_size=50),
    Settings(1000, TUNING_DRAW, steps=STEPS[1000][0], batch_size=50),
)
DRAWS = {10: 5, 100: 3, 1000: 2}
QUICK_STEPS, QUICK_DRAWS = (6, 18), 2


def compare(folder: Path, tasks: Any, *, quick: bool) -> Iterator[tuple[int, dict[str, Any]]]:
    """Tune and train for each number of labels; yield it, settings and accuracies in percent."""
    for start in STARTS:
        steps = QUICK_STEPS if quick else STEPS[start.n_labels]
        best = tune(start, steps, folder, tasks)
        n_draws = QUICK_DRAWS if quick else DRAWS[start.n_labels]
        finals = [replace(best, draw=draw, held_out=False) for draw in range(n_draws)]
        accuracies = [result(settings, folder, tasks) for settings in finals]
        yield start.n_labels, {**asdict(best), "accuracies": accuracies}


def tune(start: Settings, steps: Sequence[int], folder: Path, tasks: Any) -> Settings:
    """Return the settings that are best on held-out rows, varied one group at a time."""
    best = start
    for group in ([{"steps": number} for number in steps], *VARIED):
        tried = [replace(best, **changed) for changed in group]
        best = max(tried, key=lambda settings: result(settings, folder, tasks))
    return best


def result(settings: Settings, folder: Path, tasks: Any) -> float:
    """Return the accuracy of a training, from its file where it is finished."""
    path = folder / f"{settings.name}.json"
    if path.exists():
        kept = json.loads(path.read_text(encoding="utf-8"))
        if all(kept[key] == value for key, value in asdict(settings).items()):
            return float(kept["accuracy"])
    accuracy = train(settings, tasks)
    write_file(path, json_text({**asdict(settings), "accuracy": accuracy}))
    print(f"{settings.name}: {accuracy:.2f} %")
    return accuracy


def train(settings: Settings, tasks: Any) -> float:
    """Train one network from scratch and return its accuracy in percent."""
    n_classes = len(tasks.train.classes)
    few = tasks.rest.few_labels(per_class=settings.n_labels // n_classes, seed=settings.draw)
    torch.manual_seed(settings.draw)  # the weights that training starts from
    augmentation = Augmentation(shift=settings.shift, flip=settings.flip)
    recipe = Recipe(
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        augmentation=augmentation,
    )
    result = train_end_to_end(
        tasks.network(),
        few,
        epochs=max(1, settings.steps * settings.batch_size // len(few)),
        recipe=recipe,
        preprocess=PREPROCESS,
        seed=settings.draw,
    )
    return 100 * result.accuracy(tasks.held_out_task if settings.held_out else tasks.test)
