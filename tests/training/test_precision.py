"""Precision: which names there are, what autocast does, and that time alone decides."""

import pytest
import torch
from torch import nn

from modtools import ModtoolsError
from modtools.training import _options
from modtools.training._options import Options, autocast, measured_precision

pytestmark = pytest.mark.floating_point

CPU = torch.device("cpu")


class Clock:
    """A clock that only steps advance."""

    def __init__(self, durations):
        self.now, self.calls = 0.0, []
        self._durations = {name: iter(values) for name, values in durations.items()}

    def perf_counter(self):
        return self.now

    def step(self, precision):
        self.calls.append(precision)
        self.now += next(self._durations[precision])


def measured(monkeypatch, float32, bfloat16):
    clock = Clock({"float32": float32, "bfloat16": bfloat16})
    monkeypatch.setattr(_options, "time", clock)
    return measured_precision(clock.step), clock.calls


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "auto"])
def test_known_precisions(precision):
    assert Options(precision=precision).precision == precision


@pytest.mark.parametrize("precision", ["float16", "bf16", "", None, torch.bfloat16])
def test_other_precisions_are_refused(precision):
    with pytest.raises(ModtoolsError, match="Known: float32, bfloat16, auto") as caught:
        Options(precision=precision)
    assert str(caught.value).startswith(f'unknown precision "{precision}"')


@pytest.mark.parametrize(
    ("precision", "dtype"), [("float32", torch.float32), ("bfloat16", torch.bfloat16)]
)
def test_autocast_sets_the_precision_of_products_not_of_parameters(precision, dtype):
    layer = nn.Linear(3, 2)
    with autocast(CPU, precision):
        output = layer(torch.ones(4, 3))
    assert output.dtype == dtype
    output.float().sum().backward()
    assert layer.weight.dtype == layer.weight.grad.dtype == torch.float32
    assert layer(torch.ones(4, 3)).dtype == torch.float32


def test_float32_holds_inside_another_autocast():
    layer = nn.Linear(3, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16), autocast(CPU, "float32"):
        assert layer(torch.ones(4, 3)).dtype == torch.float32


def test_float32_keeps_the_precision():
    layer, rows = nn.Linear(30, 20), torch.randn(8, 30, generator=torch.Generator().manual_seed(0))
    expected = layer(rows)
    with autocast(CPU, "float32"):
        torch.testing.assert_close(layer(rows), expected)


@pytest.mark.parametrize(
    ("float32", "bfloat16", "chosen"),
    [
        ([0.10] * 4, [0.04] * 4, "bfloat16"),
        ([0.04] * 4, [0.10] * 4, "float32"),
        ([0.10] * 4, [0.10] * 4, "float32"),
        ([0.10] * 4, [0.095] * 4, "float32"),  # saves less than a tenth
        ([0.10, 0.1, 0.1, 0.1], [0.80, 0.04, 0.04, 0.04], "bfloat16"),  # the first call prepares
        ([0.80, 0.1, 0.1, 0.1], [0.40, 0.20, 0.20, 0.20], "float32"),
        ([0.10, 0.9, 0.9, 0.9], [0.20, 0.20, 0.20, 0.20], "float32"),  # a busy moment
    ],
)
def test_the_best_of_a_few_steps_decides(monkeypatch, float32, bfloat16, chosen):
    found, calls = measured(monkeypatch, float32, bfloat16)
    assert found == chosen
    assert calls == ["float32", "bfloat16"] * 4  # in turn, so that both see the same machine


def test_slow_steps_are_taken_once(monkeypatch):
    found, calls = measured(monkeypatch, [5.0], [2.0])
    assert found == "bfloat16"
    assert calls == ["float32", "bfloat16"]


def test_a_gpu_is_waited_for(monkeypatch):
    waits = []
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: waits.append(None))
    _, calls = measured(monkeypatch, [0.1] * 4, [0.1] * 4)
    assert len(waits) == len(calls) == 8


def test_a_failing_step_is_not_hidden():
    def step(precision):
        raise RuntimeError(f"no {precision} here")

    with pytest.raises(RuntimeError, match="no float32 here"):
        measured_precision(step)
