"""What a task holds and gives back, whatever its inputs are."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from torch.utils.data import Dataset, TensorDataset

from modtools.exceptions import ModtoolsError
from modtools.tasks import Task, load_task

IMAGES = np.arange(6 * 4, dtype=np.uint8).reshape(6, 2, 2)
LABELS = ["cat", "dog", "cat", "eel", "eel", "cat"]
TEXTS = ["a", "b", "c", "d", "e", "f"]


class Pairs(Dataset):
    """A map-style Dataset that counts how often it is read."""

    def __init__(self, inputs, labels):
        self.examples, self.answers, self.reads = inputs, labels, 0

    def __len__(self):
        return len(self.examples)

    def __getitem__(self, row):
        if row >= len(self):
            raise IndexError(row)
        self.reads += 1
        return self.examples[row], self.answers[row]


class WithTargets(Pairs):
    def __init__(self, inputs, labels, target_transform=None):
        super().__init__(inputs, labels)
        self.targets, self.target_transform = labels, target_transform

    def __getitem__(self, row):
        example, answer = super().__getitem__(row)
        return example, self.target_transform(answer) if self.target_transform else answer


FORMS = {
    "array": lambda: IMAGES,
    "tensor": lambda: torch.from_numpy(IMAGES),
    "dataset": lambda: Pairs(IMAGES, LABELS),
    "tensor-dataset": lambda: TensorDataset(torch.from_numpy(IMAGES), torch.arange(6)),
    "nested-list": lambda: IMAGES.tolist(),
}


@pytest.fixture(params=FORMS)
def task(request):
    return Task(FORMS[request.param](), LABELS, name="pets")


@pytest.mark.parametrize(
    "rows",
    [
        slice(1, 4),
        slice(None),
        slice(None, None, -2),
        [3, 0],
        np.array([5]),
        np.array([True] + [False] * 5),
    ],
)
def test_batch_gives_the_rows_asked_for(task, rows):
    np.testing.assert_array_equal(np.asarray(task.batch(rows)), IMAGES[rows])
    part = task.subset([5, 3, 1, 0, 2, 4])
    np.testing.assert_array_equal(np.asarray(part.batch(rows)), IMAGES[[5, 3, 1, 0, 2, 4]][rows])


def test_batch_keeps_the_form_of_the_inputs():
    assert isinstance(Task(IMAGES, LABELS).batch([0, 1]), np.ndarray)
    assert isinstance(Task(torch.from_numpy(IMAGES), LABELS).batch([0, 1]), torch.Tensor)
    assert isinstance(
        Task(TensorDataset(torch.ones(6, 2), torch.ones(6)), LABELS).batch([0]), torch.Tensor
    )
    assert Task(TEXTS, LABELS).batch([5, 0]) == ["f", "a"]
    assert Task(TEXTS, LABELS).batch(slice(4, None)) == ["e", "f"]
    assert Task(Pairs(TEXTS, LABELS)).batch(slice(2)) == ["a", "b"]
    assert Task(Pairs(TEXTS, LABELS)).batch([]) == []


def test_images_of_a_dataset_are_stacked_as_uint8():
    image = pytest.importorskip("PIL.Image")
    pictures = [image.fromarray(picture) for picture in IMAGES]
    batch = Task(Pairs(pictures, LABELS)).batch([1, 2])
    assert batch.dtype == np.uint8
    np.testing.assert_array_equal(batch, IMAGES[1:3])


def test_inputs_are_the_very_object_given_and_slices_are_views():
    task = Task(IMAGES, LABELS)
    assert task.inputs is IMAGES
    assert np.shares_memory(task.batch(slice(2, 4)), IMAGES)
    tensor = torch.from_numpy(IMAGES)
    assert Task(tensor, LABELS).inputs is tensor
    np.testing.assert_array_equal(Task(Pairs(IMAGES, LABELS)).inputs, IMAGES)


def test_memory_maps_are_not_read_to_make_a_task(tmp_path):
    mapped = np.lib.format.open_memmap(tmp_path / "a.npy", "w+", np.float32, (6, 3))
    assert Task(mapped, LABELS).inputs is mapped


@pytest.mark.parametrize(
    "texts",
    [TEXTS, tuple(TEXTS), np.array(TEXTS), np.array(TEXTS, dtype=object), pd.Series(TEXTS)],
    ids=type,
)
def test_texts_become_a_list_of_str(texts):
    assert Task(texts, LABELS).inputs == TEXTS


def test_frames_of_numbers_become_arrays():
    frame = pd.DataFrame({"width": [1.0, 2.0], "height": [3.0, 4.0]})
    np.testing.assert_array_equal(Task(frame, [0, 1]).inputs, [[1, 3], [2, 4]])


@pytest.mark.parametrize(
    ("labels", "kind"),
    [
        (LABELS, "classification"),
        ([4, 4, 2, 2, -1, 4], "classification"),
        ([True, False] * 3, "classification"),
        (np.eye(6, 3, dtype=int), "multilabel"),
        (np.linspace(0, 1, 6), "regression"),
        (np.linspace(0, 1, 12).reshape(6, 2), "regression"),
    ],
)
def test_labels_come_back_as_they_went_in(labels, kind):
    task = Task(IMAGES, labels)
    assert task.kind == kind
    np.testing.assert_array_equal(task.labels, labels)
    np.testing.assert_array_equal(task.subset([4, 1]).labels, np.asarray(labels)[[4, 1]])


def test_labels_of_a_dataset_are_read_item_by_item():
    dataset = Pairs(IMAGES, torch.tensor([1, 0, 1, 2, 2, 1]))
    assert Task(dataset).labels.tolist() == [1, 0, 1, 2, 2, 1]
    assert dataset.reads == 6


def test_targets_of_a_dataset_spare_reading_it():
    dataset = WithTargets(IMAGES, LABELS)
    assert Task(dataset).labels.tolist() == LABELS
    assert dataset.reads == 0


def test_targets_are_not_used_where_the_dataset_transforms_them():
    dataset = WithTargets(IMAGES, [0, 1, 2, 0, 1, 2], target_transform=lambda label: label + 10)
    assert Task(dataset).labels.tolist() == [10, 11, 12, 10, 11, 12]


def test_kind_and_classes_are_passed_on():
    assert Task(IMAGES, [1.0, 2, 1, 2, 1, 2], kind="classification").classes.tolist() == [1, 2]
    task = Task(IMAGES, LABELS, classes=["ant", "cat", "dog", "eel"])
    assert task.encoded.counts().tolist() == [0, 3, 1, 2]
    assert task.subset([0]).classes.tolist() == ["ant", "cat", "dog", "eel"]


@pytest.mark.parametrize(
    ("task", "text"),
    [
        (
            Task(IMAGES, LABELS, name="pets"),
            "Task(pets: 6 examples of uint8 (2, 2), classification, 3 classes)",
        ),
        (Task(TEXTS[:1], [0]), "Task(task: 1 example of str, classification, 1 class)"),
        (
            Task(torch.ones(2, 3), [0.5, 1]),
            "Task(task: 2 examples of float32 (3,), regression, 1 target)",
        ),
        (Task(Pairs(TEXTS, LABELS)), "Task(task: 6 examples of Pairs, classification, 3 classes)"),
        (
            Task(TEXTS, np.eye(6, 2, dtype=int), groups=[1, 1, 2, 2, 3, 3]),
            "Task(task: 6 examples of str, multilabel, 2 labels, 3 groups)",
        ),
    ],
)
def test_repr_is_one_useful_line(task, text):
    assert repr(task) == text


def test_subset_composes_and_keeps_name_groups_and_rows():
    task = Task(IMAGES, LABELS, name="pets", groups=list("xxyyzz"))
    part = task.subset([4, 2, 0]).subset([True, False, True])
    assert part.rows.tolist() == [4, 0]
    assert part.groups.tolist() == ["z", "x"]
    assert part.name == "pets"
    np.testing.assert_array_equal(part.inputs, IMAGES[[4, 0]])
    assert task.rows.tolist() == [0, 1, 2, 3, 4, 5]


def test_subset_may_repeat_rows():
    assert Task(TEXTS, LABELS).subset([1, 1]).inputs == ["b", "b"]


def test_complement_is_what_is_left():
    train = Task(TEXTS, LABELS).subset([5, 4, 3, 2])
    rest = train.complement(train.subset([1, 3]))
    assert rest.inputs == ["f", "d"]
    assert train.complement(Task.subset(train, [0])).rows.tolist() == [4, 3, 2]


def test_nothing_given_is_changed():
    images, groups = IMAGES.copy(), np.array([2, 2, 1, 1, 0, 0])
    labels = np.array(LABELS)
    task = Task(images, labels, groups=groups)
    train, _ = task.split(test_fraction=0.4)
    train.complement(task.few_labels(n=2))
    assert task.fingerprint
    assert task.row_fingerprints.size
    np.testing.assert_array_equal(images, IMAGES)
    assert labels.tolist() == LABELS
    assert groups.tolist() == [2, 2, 1, 1, 0, 0]


def test_global_seeds_are_not_touched():
    before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    Task(IMAGES, LABELS).split()
    Task(IMAGES, LABELS).few_labels(n=3)
    np.testing.assert_array_equal(np.random.get_state()[1], before[0])  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), before[1])


def test_importing_tasks_does_not_import_torch():
    code = (
        "import sys; from modtools.tasks import load_task; "
        "load_task('digits').split()[0].fingerprint; assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


ACCEPTED = "an array, a tensor, a list of str or a torch Dataset"


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        (({"a": 1}, [0]), {}, f"inputs must be {ACCEPTED}; got dict."),
        (("text", [0]), {}, f"inputs must be {ACCEPTED}; got str."),
        ((5, [0]), {}, f"inputs must be {ACCEPTED}; got int."),
        ((None, [0]), {}, f"inputs must be {ACCEPTED}; got NoneType."),
        ((np.array(5.0), [0]), {}, "inputs must not be empty; got no example."),
        (([], []), {}, "inputs must not be empty; got no example."),
        ((np.zeros((0, 3)), []), {}, "inputs must not be empty; got no example."),
        ((Pairs([], []), None), {}, "inputs must not be empty; got no example."),
        (
            (["a", None], [0, 1]),
            {},
            f"inputs must be {ACCEPTED}; got a list with dtype object and shape (2,).",
        ),
        (
            (IMAGES, [0, 1]),
            {},
            "inputs and labels must have one row each per example; inputs has 6, labels has 2.",
        ),
        (
            (IMAGES, None),
            {},
            "labels must be given with arrays, tensors and lists; only a torch Dataset holds them.",
        ),
        ((IMAGES, LABELS), {"name": None}, "the name of a task must be text; got None."),
        (
            (IMAGES, LABELS),
            {"groups": [1, 2]},
            "groups must be one whole number or str per example, shape (6,); "
            "got dtype int64 and shape (2,).",
        ),
        (
            (IMAGES, LABELS),
            {"groups": [0.5] * 6},
            "groups must be one whole number or str per example, shape (6,); "
            "got dtype float64 and shape (6,).",
        ),
        (
            (IMAGES, LABELS),
            {"groups": [*"abcde", None]},
            "groups must not be missing or mixed; got None in row 5.",
        ),
    ],
)
def test_bad_input_is_named(arguments, options, message):
    with pytest.raises(ModtoolsError) as caught:
        Task(*arguments, **options)
    assert str(caught.value) == message


def test_ragged_inputs_are_refused():
    with pytest.raises(ModtoolsError, match=r"^inputs must have rows of one length; "):
        Task([[1, 2], [3]], [0, 1])


def test_a_dataset_without_labels_says_so():
    class Bare(Pairs):
        def __getitem__(self, row):
            return super().__getitem__(row)[0]

    with pytest.raises(ModtoolsError) as caught:
        Task(Bare(IMAGES, LABELS))
    assert str(caught.value) == (
        "items of the Dataset must be pairs (input, label); item 0 is a ndarray. "
        "Pass the labels beside the Dataset."
    )
    np.testing.assert_array_equal(Task(Bare(IMAGES, LABELS), LABELS).batch([2]), IMAGES[2:3])


def test_a_dataset_with_shapes_that_differ_says_so():
    with pytest.raises(ModtoolsError) as caught:
        Task(Pairs([np.zeros(2), np.zeros(3)], [0, 1])).batch([0, 1])
    assert str(caught.value) == (
        "the Dataset must give inputs of one shape and kind; item 0 gives an array of float64 "
        "(2,), item 1 gives an array of float64 (3,). Resize, pad or convert them in the Dataset."
    )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([6], "rows must lie in [0, 6); got 6 (1 such)."),
        ([-1, -2], "rows must lie in [0, 6); got -1 (2 such)."),
        (
            [0.5],
            "rows must be a slice, whole numbers or a boolean mask of length 6; got dtype float64 "
            "and shape (1,).",
        ),
        (
            [True],
            "rows must be a slice, whole numbers or a boolean mask of length 6; got dtype bool and "
            "shape (1,).",
        ),
        ([], "a task needs at least one example; none of pets were chosen."),
        (
            slice(None, None, 0),
            "rows must be a slice of whole numbers, its step not 0; got slice(None, None, 0).",
        ),
        (
            slice("a", 3),
            "rows must be a slice of whole numbers, its step not 0; got slice('a', 3, None).",
        ),
    ],
)
def test_bad_rows_are_named(rows, message):
    task = Task(IMAGES, LABELS, name="pets")
    with pytest.raises(ModtoolsError) as caught:
        task.subset(rows)
    assert str(caught.value) == message
    if isinstance(rows, slice):
        with pytest.raises(ModtoolsError, match="rows must be a slice of whole numbers"):
            task.batch(rows)


@pytest.mark.parametrize("classes", ["02", None, 5])
def test_classes_are_a_list(classes):
    with pytest.raises(ModtoolsError, match=f"classes must be a list of labels; got {classes!r}"):
        Task(IMAGES, LABELS).of_classes(classes)


def test_complement_of_a_stranger_is_refused():
    task = Task(IMAGES, LABELS, name="pets")
    with pytest.raises(ModtoolsError) as caught:
        task.complement(Task(IMAGES, LABELS, name="others"))
    assert str(caught.value) == (
        "complement needs a subset of the same task; others has inputs of its own. "
        "Compare two such tasks with overlap."
    )
    with pytest.raises(ModtoolsError, match="none of pets were chosen"):
        task.complement(task)


@pytest.mark.parametrize("source", [None, 3, ""])
def test_a_source_that_is_no_name(source):
    with pytest.raises(ModtoolsError, match="a task must be a name or a path; got"):
        load_task(source)


# --- tasks and labels at one door


def test_labels_alone_make_a_task_without_inputs():
    task = Task.of(np.array(["a", "b", "a"]))
    assert repr(task) == "Task(these labels: 3 examples of labels alone, classification, 2 classes)"
    assert (task.name, task.has_inputs, task.group_codes) == ("these labels", False, None)
    part = task.subset([2, 1])
    assert part.labels.tolist() == ["a", "b"]
    message = "labels that came alone have no inputs to read: pass a Task"
    for read in (
        lambda: part.inputs,
        lambda: part.batch([0]),
        lambda: part.fingerprint,
        lambda: part.row_fingerprints,
    ):
        with pytest.raises(ModtoolsError, match=message):
            read()


def test_a_task_and_encoded_labels_come_through_the_door_as_they_are():
    task = Task(["x", "y"], [1, 0])
    assert Task.of(task) is task
    assert task.has_inputs
    assert Task.of(task.encoded).encoded is task.encoded


def test_a_dataset_is_a_task_and_a_loader_is_refused():
    data = torch.utils.data.TensorDataset(torch.ones(4, 2), torch.tensor([0, 1, 0, 1]))
    task = Task.of(data)
    assert task.has_inputs
    assert task.labels.tolist() == [0, 1, 0, 1]
    with pytest.raises(ModtoolsError) as caught:
        Task.of(torch.utils.data.DataLoader(data))
    assert str(caught.value) == (
        "a DataLoader gives batches, not examples; pass Task(loader.dataset)."
    )


def test_groups_are_numbered_by_the_task():
    task = Task(np.zeros((3, 1)), [0, 1, 0], groups=["b", "a", "b"])
    assert task.group_codes.tolist() == [1, 0, 1]
    with pytest.raises(ModtoolsError, match="at least two groups; all examples are in one"):
        _ = task.subset([0, 2]).group_codes
