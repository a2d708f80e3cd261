from collections import OrderedDict
from types import SimpleNamespace

import pytest
import torch

from modtools.exceptions import ModtoolsError
from modtools.modules._pooling import first_tensor, pool

pytestmark = pytest.mark.floating_point

TOKENS = torch.arange(24.0).reshape(2, 3, 4)
MAPS = torch.arange(48.0).reshape(2, 2, 3, 4)
MASK = torch.tensor([[1, 1, 0], [1, 0, 0]])


def pooled(output, pooling, mask=None, n_rows=2):
    return pool(output, pooling, n_rows=n_rows, mask=mask, name="net@layer")


@pytest.mark.parametrize(
    ("output", "pooling", "expected"),
    [
        (TOKENS, "mean", [[4, 5, 6, 7], [16, 17, 18, 19]]),
        (TOKENS, "max", [[8, 9, 10, 11], [20, 21, 22, 23]]),
        (TOKENS, "cls", [[0, 1, 2, 3], [12, 13, 14, 15]]),
        (TOKENS, "flatten", TOKENS.reshape(2, 12).tolist()),
        (TOKENS, "masked_mean", [[2, 3, 4, 5], [12, 13, 14, 15]]),
        (MAPS, "mean", [[5.5, 17.5], [29.5, 41.5]]),
        (MAPS, "max", [[11, 23], [35, 47]]),
        (MAPS, "flatten", MAPS.reshape(2, 24).tolist()),
        (MAPS.unsqueeze(2), "mean", [[5.5, 17.5], [29.5, 41.5]]),
    ],
)
def test_values_by_hand(output, pooling, expected):
    assert pooled(output, pooling, MASK).tolist() == expected


@pytest.mark.parametrize("pooling", ["mean", "max", "cls", "flatten", "masked_mean"])
def test_rows_pass_through_and_are_copied(pooling):
    rows = torch.ones(2, 3)
    result = pooled(rows, pooling)
    rows.zero_()
    assert result.tolist() == [[1, 1, 1], [1, 1, 1]]


def test_half_precision_is_averaged_in_float32():
    output = torch.full((1, 1, 300, 300), 3.0, dtype=torch.float16)
    assert pooled(output, "mean", n_rows=1).item() == 3
    assert pooled(output, "mean", n_rows=1).dtype == torch.float32


@pytest.mark.parametrize(
    "output",
    [
        TOKENS,
        (TOKENS, MAPS),
        [None, (TOKENS,)],
        {"loss": None, "logits": TOKENS},
        OrderedDict(pooler_output=MAPS, last_hidden_state=TOKENS),
        SimpleNamespace(last_hidden_state=TOKENS, other=MAPS),
    ],
)
def test_first_tensor_of_nested_outputs(output):
    assert first_tensor(output) is TOKENS


@pytest.mark.parametrize(
    ("output", "pooling", "mask", "message"),
    [
        (torch.ones(3, 2), "mean", None, "must have the batch as first axis"),
        (torch.ones(2), "mean", None, r"shape \(2,\) for a batch of 2"),
        (torch.tensor(1.0), "mean", None, "batch as first axis"),
        ("text", "mean", None, 'module "net@layer" returned str, no tensor in it'),
        ((), "mean", None, "returned tuple"),
        (MAPS, "cls", None, "needs tokens"),
        (TOKENS, "masked_mean", None, "no attention_mask"),
        (TOKENS, "masked_mean", torch.ones(2, 4), r"a mask of shape \(2, 4\)"),
        (MAPS, "masked_mean", MASK, "needs tokens"),
    ],
)
def test_bad_outputs(output, pooling, mask, message):
    with pytest.raises(ModtoolsError, match=message):
        pooled(output, pooling, mask)
