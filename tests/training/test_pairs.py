"""With pairs, hidden modules learn as they would from classes whose names nobody knows."""

from itertools import combinations

import numpy as np
import pytest
import torch

from modtools.proxies import Pairs
from modtools.tasks import Task
from modtools.training import Recipe, train_modular

pytestmark = pytest.mark.floating_point

RECIPE = Recipe(batch_size=20)


def all_pairs(labels):
    i, j = np.array(list(combinations(range(len(labels)), 2))).T
    return Pairs(i, j, labels[i] == labels[j])


def hidden(network):
    """Return what the hidden modules of `perceptron` have learnt."""
    return {name: part for name, part in network.state_dict().items() if name[0] in "02"}


@pytest.mark.parametrize("schedule", ["sequential", "simultaneous"])
@pytest.mark.parametrize("names", [["cow", "ant", "bee"], [7, 1, 2], [True, True, False]])
def test_class_labels_are_not_read(schedule, names, rows, mlp, differ):
    # Even where the labels that the output module gets contradict the pairs.
    codes = rows.encoded.codes
    renamed = Task(rows.inputs, [names[code] for code in codes])
    pairs, networks = all_pairs(codes), []
    for task in (rows, renamed):
        network = mlp(len(task.classes)) if len(task.classes) == 3 else mlp(3)
        if len(task.classes) == 2:
            network[3] = torch.nn.Linear(6, 2)
        options = {"schedule": schedule, "at": ["0", "2"], "epochs": 2, "recipe": RECIPE}
        train_modular(network, task, pairs=pairs, **options)
        networks.append(hidden(network))
    assert not differ(*networks)
    assert differ(hidden(mlp()), networks[0])


@pytest.mark.parametrize("proxy", ["supcon", "nmse", "alignment", "contrastive"])
def test_all_pairs_say_what_classes_say(proxy, rows, mlp):
    networks, losses = [], []
    for pairs in (None, all_pairs(rows.encoded.codes)):
        network = mlp()
        result = train_modular(network, rows, proxy=proxy, pairs=pairs, epochs=2, recipe=RECIPE)
        networks.append(hidden(network))
        losses.append(result.history.query("module == '2'")["loss"])
        assert result.labels_needed == "pairs"
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)
    for one, other in zip(networks[0].values(), networks[1].values(), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-3)


def test_pairs_teach(rows, mlp):
    # Half of all pairs, given in any order, are enough to tell the classes apart.
    pairs = all_pairs(rows.encoded.codes)
    chosen = np.random.default_rng(0).permutation(len(pairs))[: len(pairs) // 2]
    some = Pairs(pairs.j[chosen], pairs.i[chosen], pairs.same[chosen])
    result = train_modular(mlp(), rows, pairs=some, epochs=30, recipe=RECIPE)
    losses = result.history.query("module == '2'")["loss"]
    assert losses.iloc[-1] < 0.7 * losses.iloc[0]
    assert result.settings["pairs"].startswith("885 pairs, sha256 ")


def test_pairs_that_say_nothing_teach_nothing(rows, mlp, state, differ):
    network = mlp()
    before = state(network)
    recipe = Recipe(batch_size=20, weight_decay=0)
    train_modular(network, rows, pairs=Pairs([0], [1], [False]), epochs=1, recipe=recipe)
    assert all(name.startswith("3.") for name in differ(before, state(network)))
