"""Fingerprints: what they are made of, and what they must not depend on."""

import hashlib

import numpy as np
import pytest
import torch
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as arrays
from torch.utils.data import TensorDataset

from modtools.exceptions import ModtoolsError
from modtools.tasks import Task

VALUES = np.array([[1, 2, 3], [4, 5, 600]], dtype=np.int16)
GOLDEN = "a1b30ad745308a893ab69f6a9e02963c4f01421c053681209205e2c26c2280e3"
GOLDEN_ROW = "54971a4bc84e42ef977a9950f47fa9998b1a9dc8f3b4d277a7d53cf0d401af60"


def framed(text):
    return len(text.encode()).to_bytes(8, "little") + text.encode()


def test_fingerprint_is_the_documented_hash():
    content = framed("int16 (2, 3)") + bytes.fromhex("010002000300040005005802")
    content += framed("classification") + framed("cat") + framed("dog")
    assert Task(VALUES, ["cat", "dog"]).fingerprint == hashlib.sha256(content).hexdigest()


def test_row_fingerprint_is_the_documented_hash():
    content = framed("int16 (3,)") + bytes.fromhex("040005005802")
    row = Task(VALUES, ["cat", "dog"]).row_fingerprints[1]
    assert row == hashlib.sha256(content).hexdigest()


def test_fingerprints_of_texts_are_the_documented_hashes():
    task = Task(["a", "né"], [0.5, -1])
    content = framed("str (2,)") + framed("a") + framed("né")
    content += framed("regression") + framed("0.5") + framed("-1.0")
    assert task.fingerprint == hashlib.sha256(content).hexdigest()
    assert task.row_fingerprints[1] == hashlib.sha256(framed("str ()") + framed("né")).hexdigest()


def test_golden_values():
    task = Task(VALUES, ["cat", "dog"])
    assert task.fingerprint == GOLDEN
    assert task.row_fingerprints[0] == GOLDEN_ROW


SAME = {
    "big-endian": VALUES.astype(">i2"),
    "fortran": np.asfortranarray(VALUES),
    "strided": np.repeat(VALUES, 2, axis=1)[:, ::2],
    "tensor": torch.from_numpy(VALUES),
    "dataset": TensorDataset(torch.from_numpy(VALUES), torch.zeros(2)),
}


@pytest.mark.parametrize("values", SAME.values(), ids=SAME)
def test_fingerprint_depends_on_values_only(values):
    same, task = Task(values, ["cat", "dog"], name="other"), Task(VALUES, ["cat", "dog"])
    assert same.fingerprint == task.fingerprint
    assert same.row_fingerprints.tolist() == task.row_fingerprints.tolist()


OTHER = {
    "value": (VALUES + 1, ["cat", "dog"], {}),
    "dtype": (VALUES.astype(np.int32), ["cat", "dog"], {}),
    "shape": (VALUES.reshape(2, 1, 3), ["cat", "dog"], {}),
    "label": (VALUES, ["cat", "eel"], {}),
    "order": (VALUES[::-1], ["cat", "dog"], {}),
    "rows": (VALUES[:1], ["cat"], {}),
    "kind": (VALUES, [1, 2], {"kind": "regression"}),
    "classes": (VALUES, [1, 2], {}),
}


def test_fingerprint_tells_everything_else_apart():
    prints = [
        Task(values, labels, **options).fingerprint for values, labels, options in OTHER.values()
    ]
    assert len({*prints, GOLDEN}) == len(OTHER) + 1


def test_texts_cannot_run_into_each_other():
    assert Task(["ab", "c"], [0, 1]).fingerprint != Task(["a", "bc"], [0, 1]).fingerprint
    assert Task(["a", "b"], ["c", "de"]).fingerprint != Task(["a", "b"], ["cd", "e"]).fingerprint


def test_bfloat16_is_told_from_float32():
    values = torch.tensor([[1.0, 2.0]])
    assert Task(values, [0]).fingerprint != Task(values.bfloat16(), [0]).fingerprint


@given(
    arrays.arrays(
        st.sampled_from([np.uint8, np.float32, np.int64]),
        st.tuples(st.integers(1, 6), st.integers(1, 4)),
    ),
    st.data(),
)
def test_a_subset_has_the_fingerprint_of_its_copy(values, data):
    rows = data.draw(st.lists(st.integers(0, len(values) - 1), min_size=1, max_size=8))
    labels = np.arange(len(values)) % 2
    part = Task(values, labels).subset(rows)
    copy = Task(values[rows], labels[rows])
    assert part.fingerprint == copy.fingerprint
    assert part.row_fingerprints.tolist() == copy.row_fingerprints.tolist()


def test_blocks_do_not_show(monkeypatch):
    whole = Task(VALUES, ["cat", "dog"]).fingerprint
    monkeypatch.setattr("modtools.tasks._inputs.rows_per_block", lambda *_: 1)
    assert Task(VALUES, ["cat", "dog"]).fingerprint == whole


def test_rows_are_hashed_once_for_all_parts(monkeypatch):
    hashed = []
    import modtools.tasks._task as task_file

    def counting(inputs, rows):
        hashed.extend(rows.tolist())
        return iter_blocks(inputs, rows)

    iter_blocks = task_file.iter_blocks
    monkeypatch.setattr(task_file, "iter_blocks", counting)
    task = Task(np.arange(10), np.arange(10) % 2)
    train, test = task.split(test_fraction=0.4)
    assert train.overlap(test).size == 0
    assert task.row_fingerprints.size == 10
    assert sorted(hashed) == list(range(10))


def test_overlap_names_the_shared_rows():
    left = Task(["a", "b", "c", "a"], [0, 1, 0, 1])
    right = Task(["c", "x", "a"], [1, 1, 1])
    assert left.overlap(right).tolist() == [0, 2, 3]
    assert right.overlap(left).tolist() == [0, 2]
    assert left.overlap(Task(["z"], [0])).size == 0


def test_train_and_test_of_digits_share_no_row(digits):
    train, test = digits.split(0.4)
    assert len(train.overlap(test)) == 0
    assert len(digits.overlap(train)) == len(train)


def test_datasets_of_other_objects_have_no_fingerprint():
    class Objects:
        targets = (0, 1)

        def __len__(self):
            return 2

        def __getitem__(self, row):
            return {"ids": row}, row

    with pytest.raises(ModtoolsError) as caught:
        _ = Task(Objects()).fingerprint
    assert str(caught.value) == (
        "a fingerprint needs inputs that are arrays, tensors or str; the Dataset gives dict."
    )


def test_datasets_of_changing_shape_have_no_fingerprint(monkeypatch):
    class Growing:
        targets = (0, 1)

        def __len__(self):
            return 2

        def __getitem__(self, row):
            return np.zeros(row + 1), row

    monkeypatch.setattr("modtools.tasks._inputs._ITEMS_PER_BLOCK", 1)
    with pytest.raises(ModtoolsError) as caught:
        _ = Task(Growing()).fingerprint
    assert str(caught.value) == (
        "the Dataset must give inputs of one type and shape; "
        "got ('float64', (1,)) and ('float64', (2,))."
    )
