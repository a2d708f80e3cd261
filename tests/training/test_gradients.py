"""No module learns from another's objective: gradients across modules are zero, not just small."""

import pytest
import torch

from modtools.training import _trainer, train_end_to_end, train_modular

pytestmark = pytest.mark.floating_point

ALL_PROXIES = [
    "raw",
    "nmse",
    "alignment",
    "upper_triangle_alignment",
    "contrastive",
    "log_contrastive",
    "supcon",
    "hsic_bottleneck",
    "predsim",
    "local_classifier",
]


@pytest.fixture
def graphs(monkeypatch):
    """Return a list that gets, of every step, the learner, its loss's gradients and its inputs.

    The gradients are taken of the graph that the trainer itself builds, with respect to every
    parameter of the whole network.
    """
    found = []
    forward = _trainer.Trainer._forward

    def spy(self, learner, batch, labels):
        outputs, loss = forward(self, learner, batch, labels)
        names, parameters = zip(*self.network.named_parameters(), strict=True)
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        found.append((learner, dict(zip(names, gradients, strict=True)), batch))
        return outputs, loss

    monkeypatch.setattr(_trainer.Trainer, "_forward", spy)
    return found


@pytest.fixture
def phases(monkeypatch):
    """Return a list that gets of every phase its learners and the network before and after."""
    found = []
    run = _trainer.Trainer.run

    def spy(self, phase, *arguments):
        before = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        objectives = [
            {k: v.clone() for k, v in one.objective.state_dict().items()} for one in phase.learners
        ]
        run(self, phase, *arguments)
        after = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        found.append((phase.learners, before, after, objectives))

    monkeypatch.setattr(_trainer.Trainer, "run", spy)
    return found


def own(learner):
    """Return names of the network's parameters that belong to a learner."""
    return {name for name, _ in learner.module.named_parameters()}


@pytest.mark.parametrize("schedule", ["sequential", "simultaneous"])
@pytest.mark.parametrize("proxy", ALL_PROXIES)
def test_gradients_across_modules_are_none(schedule, proxy, graphs, images, conv, recipe):
    cuts = ["first", "second", "features"]
    train_modular(conv(), images, proxy=proxy, schedule=schedule, at=cuts, epochs=1, recipe=recipe)
    assert {learner.name for learner, _, _ in graphs} == {*cuts, "output"}
    for learner, gradients, batch in graphs:
        reached = {name for name, gradient in gradients.items() if gradient is not None}
        assert reached == own(learner)
        assert not batch.features.requires_grad
        assert not batch.inputs.requires_grad
    moved = [
        name
        for _, found, _ in graphs
        for name, part in found.items()
        if part is not None and part.any()
    ]
    assert set(moved) >= {"first.0.weight", "second.0.weight", "third.2.weight", "output.weight"}


def test_the_end_to_end_graph_reaches_every_parameter(graphs, images, conv, recipe):
    # The same instrument sees what is absent above, so that its silence there means something.
    train_end_to_end(conv(), images, epochs=1, recipe=recipe)
    for _, gradients, _ in graphs:
        assert all(gradient is not None for gradient in gradients.values())


@pytest.mark.parametrize("schedule", ["sequential", "simultaneous"])
@pytest.mark.parametrize("validated", [False, True])
def test_a_phase_changes_its_own_modules_only(
    schedule, validated, phases, images, held_out, conv, recipe, differ
):
    cuts = ["first", "second", "features"]
    train_modular(
        conv(),
        images,
        schedule=schedule,
        at=cuts,
        epochs=2,
        recipe=recipe,
        validation=held_out if validated else None,
        patience=2 if validated else None,
    )
    names = [[learner.name for learner in learners] for learners, *_ in phases]
    hidden = [cuts] if schedule == "simultaneous" else [[cut] for cut in cuts]
    assert names == [*hidden, ["output"]]
    for learners, before, after, objectives in phases:
        changed = differ(before, after)
        allowed = {name for learner in learners for name in learner.module.state_dict()}
        # Bit for bit, running means and variances of batch norms included.
        assert changed <= allowed
        for learner, heads in zip(learners, objectives, strict=True):
            assert any(name in changed for name in own(learner))
            if heads:
                assert differ(heads, learner.objective.state_dict())


def test_statistics_of_frozen_modules_are_those_that_outputs_use(phases, images, conv, recipe):
    train_modular(conv(), images, at=["second", "features"], epochs=1, recipe=recipe)
    frozen = [name for name in phases[0][1] if name.startswith("second.1.")]
    assert "second.1.num_batches_tracked" in frozen
    after_first, at_end = phases[0][2], phases[-1][2]
    assert all(torch.equal(after_first[name], at_end[name]) for name in frozen)
    assert after_first["second.1.num_batches_tracked"] == 80 // 16


@pytest.mark.parametrize("schedule", ["sequential", "simultaneous"])
def test_projections_and_heads_are_discarded(schedule, images, conv, recipe):
    network = conv()
    shapes = {name: tensor.shape for name, tensor in network.state_dict().items()}
    proxies = ["predsim", "supcon", "local_classifier"]
    cuts = ["first", "second", "third"]
    result = train_modular(
        network, images, proxy=proxies, schedule=schedule, at=cuts, epochs=1, recipe=recipe
    )
    assert result.network is network
    assert {name: tensor.shape for name, tensor in network.state_dict().items()} == shapes
    for part in network.modules():
        assert not part._forward_hooks
        assert not part._forward_pre_hooks
        assert not part._backward_hooks
    assert all(parameter.requires_grad for parameter in network.parameters())
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(part.training for part in network.modules())


def test_one_hidden_module_is_trained_alike_by_both_schedules(images, conv, recipe, state, differ):
    states = []
    for schedule in ("sequential", "simultaneous"):
        network = conv()
        train_modular(network, images, schedule=schedule, at=2, epochs=2, recipe=recipe)
        states.append(state(network))
    assert not differ(*states)


def test_a_module_does_not_depend_on_the_proxies_after_it(images, conv, recipe, state, differ):
    cuts, states = ["first", "features"], []
    for last in ("supcon", "local_classifier"):
        network = conv()
        train_modular(
            network, images, proxy=["nmse", last], at=cuts, epochs=1, recipe=recipe, seed=3
        )
        states.append(state(network))
    changed = differ(*states)
    assert changed
    assert not any(name.startswith("first") for name in changed)
