"""The recipe: its curve, its optimiser, its settings as JSON."""

import copy
import json
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR

from modtools import ModtoolsError
from modtools.training._batches import Augmentation
from modtools.training._options import Recipe


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Flatten(), nn.Linear(12, 2))


def torch_curve(peak, warmup, steps):
    """Return the learning rates of torch: a linear warm-up, then its cosine, down to zero."""
    rates = {}
    for shape in ("linear", "cos"):
        optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=peak)
        scheduler = OneCycleLR(
            optimizer,
            peak,
            total_steps=steps + 1,
            pct_start=warmup,
            anneal_strategy=shape,
            cycle_momentum=False,
            final_div_factor=1e18,
        )
        rates[shape] = []
        for _ in range(steps):
            rates[shape].append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
    return rates


@pytest.mark.parametrize(("warmup", "steps"), [(0.2, 100), (0.25, 40), (0.5, 10)])
def test_the_curve_is_that_of_torch(warmup, steps):
    # torch places the peak of n steps at warmup * n - 1: its axis is stretched to ours.
    theirs, peak_step = torch_curve(0.006, warmup, steps), warmup * (steps + 1) - 1
    recipe = Recipe(learning_rate=0.006, warmup=warmup)
    for step in range(steps):
        rising = step <= peak_step
        share = (
            warmup * step / peak_step
            if rising
            else warmup + (1 - warmup) * (step - peak_step) / (steps - peak_step)
        )
        expected = theirs["linear" if rising else "cos"][step]
        assert recipe.learning_rate_at(share) == pytest.approx(expected, rel=1e-9)


def test_the_curve_at_its_corners():
    recipe = Recipe(learning_rate=0.5, warmup=0.2)
    assert recipe.learning_rate_at(0) == pytest.approx(0.5 / 25)
    assert recipe.learning_rate_at(0.1) == pytest.approx(0.5 * 26 / 50)
    assert recipe.learning_rate_at(0.2) == 0.5
    assert recipe.learning_rate_at(0.6) == pytest.approx(0.25)
    assert recipe.learning_rate_at(1) == 0


@pytest.mark.parametrize("warmup", [0, 1e-9, 0.2, 0.999])
def test_the_curve_rises_then_falls_without_a_jump(warmup):
    recipe = Recipe(learning_rate=1, warmup=warmup)
    after = [recipe.learning_rate_at(warmup + (1 - warmup) * i / 1000) for i in range(1001)]
    before = [recipe.learning_rate_at(warmup * i / 1000) for i in range(1001)]
    assert after[0] == before[-1] == 1
    assert after[-1] == pytest.approx(0, abs=1e-12)
    assert all(left > right for left, right in pairwise(after))
    assert all(left <= right for left, right in pairwise(before))
    assert max(abs(left - right) for left, right in pairwise(after)) < 0.002


def test_outside_the_run_the_nearer_end_counts():
    recipe = Recipe()
    assert recipe.learning_rate_at(1.3) == recipe.learning_rate_at(1) == 0
    assert recipe.learning_rate_at(-0.1) == recipe.learning_rate_at(0) > 0


def test_a_constant_curve_is_constant():
    recipe = Recipe(curve="constant", learning_rate=0.01)
    assert {recipe.learning_rate_at(share) for share in (-1, 0, 0.1, 0.5, 1, 2)} == {0.01}


def test_the_optimizer_decays_matrices_and_kernels_only():
    trained = network()
    optimizer = Recipe(weight_decay=0.1, betas=(0.8, 0.9)).optimizer(trained.parameters())
    assert type(optimizer) is torch.optim.AdamW
    decayed, others = optimizer.param_groups
    assert [p.ndim for p in decayed["params"]] == [4, 2]
    assert [p.ndim for p in others["params"]] == [1, 1, 1, 1]
    assert (decayed["weight_decay"], others["weight_decay"]) == (0.1, 0)
    for group in optimizer.param_groups:
        assert (group["lr"], group["betas"]) == (3e-3, (0.8, 0.9))


def test_a_step_without_gradient_shrinks_what_is_decayed():
    trained = network()
    before = copy.deepcopy(trained)
    optimizer = Recipe(learning_rate=0.1, weight_decay=0.5).optimizer(trained.parameters())
    for parameter in trained.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for new, old in zip(trained.parameters(), before.parameters(), strict=True):
        torch.testing.assert_close(new, old * (1 - 0.1 * 0.5) if old.ndim > 1 else old)


def test_a_step_is_adamw_by_hand():
    weight = nn.Parameter(torch.tensor([[1.0, -2.0]]))
    recipe = Recipe(learning_rate=0.01, weight_decay=0.05, betas=(0.9, 0.98))
    optimizer, expected = recipe.optimizer([weight]), weight.detach().double().clone()
    mean = square = torch.zeros(1, 2, dtype=torch.float64)
    for step in range(1, 4):
        gradient = torch.tensor([[0.3, -step]])
        weight.grad = gradient
        optimizer.step()
        mean = 0.9 * mean + 0.1 * gradient
        square = 0.98 * square + 0.02 * gradient**2
        expected *= 1 - 0.01 * 0.05
        scaled = mean / (1 - 0.9**step) / ((square / (1 - 0.98**step)).sqrt() + 1e-8)
        expected -= 0.01 * scaled
    torch.testing.assert_close(weight.detach().double(), expected, rtol=1e-5, atol=0)


def test_groups_that_would_be_empty_are_left_out():
    recipe = Recipe()
    assert len(recipe.optimizer(nn.Linear(2, 2, bias=False).parameters()).param_groups) == 1
    assert len(recipe.optimizer(nn.BatchNorm1d(2).parameters()).param_groups) == 1
    with pytest.raises(ModtoolsError, match="there is nothing to train"):
        recipe.optimizer(nn.ReLU().parameters())


@pytest.mark.parametrize("augmentation", [None, Augmentation(shift=1, flip=True)])
def test_settings_are_equal_to_themselves_after_json(augmentation):
    recipe = Recipe(batch_size=512, augmentation=augmentation)
    settings = recipe.as_dict()
    assert json.loads(json.dumps(settings)) == settings
    assert settings["batch_size"] == 512
    assert settings["betas"] == [0.9, 0.98]
    assert settings["augmentation"] == (
        None if augmentation is None else {"shift": 1, "flip": True}
    )
    again = Recipe(**{**settings, "augmentation": augmentation})
    assert again == recipe
    assert hash(again) == hash(recipe)


def test_numbers_of_numpy_become_plain():
    recipe = Recipe(
        batch_size=np.int64(8),
        learning_rate=np.float32(0.5),
        weight_decay=np.float32(0),
        betas=[np.float64(0.5), 0],
        warmup=np.float32(0),
    )
    assert recipe == Recipe(
        batch_size=8, learning_rate=0.5, weight_decay=0, betas=(0.5, 0), warmup=0
    )
    json.dumps(recipe.as_dict())


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number of at least 1; got 0"),
        ({"batch_size": 2.0}, "batch_size must be a whole number"),
        ({"learning_rate": 0}, "learning_rate must be a finite number above 0; got 0"),
        ({"learning_rate": math.nan}, "learning_rate must be a finite number above 0; got nan"),
        ({"learning_rate": "0.1"}, "learning_rate must be a finite number above 0; got '0.1'"),
        ({"weight_decay": -1}, r"weight_decay must lie in \[0, inf\); got -1"),
        ({"weight_decay": math.inf}, r"weight_decay must lie in \[0, inf\); got inf"),
        ({"betas": 0.9}, "betas must be two numbers; got 0.9"),
        ({"betas": (0.9,)}, r"betas must be two numbers; got \(0.9,\)"),
        ({"betas": (0.9, 1)}, r"betas must lie in \[0, 1\); got 1"),
        ({"betas": "ab"}, r"betas must lie in \[0, 1\); got 'a'"),
        ({"curve": "one_cycle"}, 'unknown curve "one_cycle"; did you mean "onecycle"'),
        ({"curve": 3}, 'unknown curve "3"'),
        ({"warmup": 1}, r"warmup must lie in \[0, 1\); got 1"),
        ({"warmup": True}, r"warmup must lie in \[0, 1\); got True"),
        ({"warmup": -0.1}, r"warmup must lie in \[0, 1\); got -0.1"),
        ({"augmentation": "flip"}, "augmentation must be an Augmentation or None; got 'flip'"),
        ({"augmentation": Augmentation}, "augmentation must be an Augmentation or None"),
    ],
)
def test_senseless_settings_are_refused(settings, message):
    with pytest.raises(ModtoolsError, match=message) as caught:
        Recipe(**settings)
    assert "\n" not in str(caught.value)


def test_it_cannot_be_changed_and_names_every_setting():
    recipe = Recipe()
    with pytest.raises(AttributeError):
        recipe.batch_size = 3
    with pytest.raises(TypeError):
        Recipe(512)
    assert "learning_rate=0.003" in repr(recipe)
