"""Callbacks: when they are called, what they see and may do, and how runs with them go on."""

import signal

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR, StepLR

from modtools import ModtoolsError, train_end_to_end, train_modular
from modtools.training import Callback, Recipe, TrainingState

pytestmark = pytest.mark.floating_point

CONSTANT = Recipe(batch_size=20, curve="constant")  # three steps an epoch of the task `rows`
PLACES = ("on_train_begin", "on_batch_end", "on_epoch_end", "on_train_end")


class Log(Callback):
    """Adds what it is told to a list; it has no state."""

    def __init__(self):
        self.lines = []

    def on_train_begin(self, state):
        self.lines.append(("begin", state))

    def on_batch_end(self, state):
        self.lines.append(("batch", state))

    def on_epoch_end(self, state):
        self.lines.append(("epoch", state))

    def on_train_end(self, state):
        self.lines.append(("end", state))

    def of(self, *kinds):
        return [state for kind, state in self.lines if kind in kinds]


class Schedule(Callback):
    """A scheduler of torch for every optimizer, stepped after every epoch or batch."""

    def __init__(self, make, every="epoch"):
        self.make, self.every = make, every

    def on_train_begin(self, state):
        self.schedulers = [self.make(optimizer) for optimizer in state.optimizers.values()]

    def on_batch_end(self, state):
        self._step("batch")

    def on_epoch_end(self, state):
        self._step("epoch")

    def _step(self, event):
        for scheduler in self.schedulers if event == self.every else ():
            scheduler.step()

    def state_dict(self):
        return {"schedulers": [scheduler.state_dict() for scheduler in self.schedulers]}

    def load_state_dict(self, state):
        for scheduler, kept in zip(self.schedulers, state["schedulers"], strict=True):
            scheduler.load_state_dict(kept)


class Act(Callback):
    """Does something once, at the end of a step."""

    def __init__(self, place=None, act=None):
        self.place, self.act = place, act

    def on_batch_end(self, state):
        if (state.phase, state.step) == self.place:
            self.act(state)


def ctrl_c(_state):
    signal.raise_signal(signal.SIGINT)


def fail(_state):
    raise ZeroDivisionError


def untimed(result):
    return result.history.drop(columns="seconds")


@pytest.fixture
def train(rows, mlp):
    """Return a function that trains a perceptron by a method."""

    def train(method, *callbacks, **options):
        options = {"recipe": CONSTANT, "epochs": 2, "callbacks": callbacks, **options}
        if method == "end_to_end":
            return train_end_to_end(mlp(), rows, **options)
        return train_modular(mlp(), rows, schedule=method, at=["0", "2"], **options)

    return train


class TestWhatIsSeen:
    def test_each_phase_begins_and_ends(self, train):
        log = Log()
        train("sequential", log)
        epoch = ["batch"] * 3 + ["epoch"]
        hidden = ["begin", *epoch, *epoch, "end"]
        output = ["begin", *epoch, *epoch, *epoch, *epoch, "end"]
        assert [kind for kind, _ in log.lines] == hidden * 2 + output
        assert [state.phase for state in log.of("end")] == [0, 1, 2]
        assert {state.n_phases for _, state in log.lines} == {3}
        assert [state.modules for state in log.of("begin")] == [("0",), ("2",), ("3",)]

    def test_modules_at_once_are_one_phase(self, train):
        log = Log()
        train("simultaneous", log)
        assert [state.modules for state in log.of("begin")] == [("0", "2"), ("3",)]
        first = log.of("batch")[0]
        assert list(first.losses) == list(first.learning_rates) == ["0", "2"]
        assert len({id(optimizer) for optimizer in first.optimizers.values()}) == 2

    def test_end_to_end_is_one_phase_of_the_network(self, train):
        log = Log()
        result = train("end_to_end", log)
        assert [state.modules for state in log.of("begin")] == [("network",)]
        assert all(state.network is result.network for _, state in log.lines)

    def test_steps_epochs_and_losses_are_those_of_the_history(self, train, rows):
        log = Log()
        result = train("end_to_end", log, validation=rows, recipe=Recipe(batch_size=20))
        batches, epochs = log.of("batch"), log.of("epoch")
        assert [state.step for state in batches] == [1, 2, 3, 4, 5, 6]
        assert [state.progress for state in batches] == [step / 6 for step in range(6)]
        assert [state.epoch for state in epochs] == result.history["epoch"].tolist()
        columns = {
            "loss": [state.losses["network"] for state in epochs],
            "learning_rate": [state.learning_rates["network"] for state in epochs],
            "validation_loss": [state.validation["network"]["validation_loss"] for state in epochs],
        }
        for name, values in columns.items():
            assert result.history[name].tolist() == values
        first = [state.losses["network"] for state in batches[:3]]
        assert epochs[0].losses["network"] == pytest.approx(np.mean(first))

    def test_states_are_snapshots_and_not_written(self, train):
        log = Log()
        train("end_to_end", log)
        begin = log.of("begin")[0]
        assert (begin.step, begin.losses, begin.validation) == (0, {}, {})
        assert not any(state.is_finished for state in log.of("begin", "batch", "epoch"))
        with pytest.raises(AttributeError):
            begin.step = 3
        assert "network" not in repr(begin).replace("'network'", "")

    def test_a_finished_phase_shows_the_best_weights(self, train, rows, state, differ):
        class Keep(Callback):
            def __init__(self):
                self.epochs, self.end = [], None

            def on_epoch_end(self, shown):
                self.epochs.append((shown.validation, state(shown.network)))

            def on_train_end(self, shown):
                self.end = state(shown.network)

        keep, recipe = Keep(), Recipe(batch_size=20, curve="constant", learning_rate=1.0)
        result = train("end_to_end", keep, recipe=recipe, epochs=9, validation=rows, patience=2)
        losses = [shown["network"]["validation_loss"] for shown, _ in keep.epochs]
        assert len(losses) - 1 - int(np.argmin(losses)) == 2
        assert not differ(keep.end, keep.epochs[int(np.argmin(losses))][1])
        assert not differ(keep.end, state(result.network))


class TestWhatTheyMayDo:
    @pytest.mark.parametrize("method", ["sequential", "simultaneous", "end_to_end"])
    def test_to_log_changes_nothing(self, method, train, state, differ):
        plain, logged = train(method), train(method, Log())
        assert not differ(state(plain.network), state(logged.network))
        assert untimed(plain).equals(untimed(logged))

    def test_a_scheduler_of_torch_sets_the_rates(self, train):
        halve = Schedule(lambda optimizer: StepLR(optimizer, step_size=1, gamma=0.5))
        history = train("sequential", halve, epochs=3).history
        rates = history.groupby("module")["learning_rate"].apply(list)
        peak = CONSTANT.learning_rate
        assert rates["0"] == rates["2"] == [peak, peak / 2, peak / 4]
        assert rates["3"] == [5 * peak / 2**epoch for epoch in range(4)]

    def test_the_curve_of_a_recipe_is_a_scheduler_too(self, train, state):
        recipe = Recipe(batch_size=20)
        steps = 2 * 3
        factor = Schedule(
            lambda optimizer: LambdaLR(
                optimizer,
                lambda step: recipe.learning_rate_at(step / steps) / recipe.learning_rate,
            ),
            every="batch",
        )
        scheduled = state(train("end_to_end", factor).network)
        for name, expected in state(train("end_to_end", recipe=recipe).network).items():
            torch.testing.assert_close(scheduled[name], expected)

    def test_to_stop_ends_the_phase_after_the_step(self, train):
        stop = Act((1, 2), TrainingState.stop)
        history = train("sequential", stop).history
        assert history.groupby("module")["step"].max().to_dict() == {"0": 6, "2": 2, "3": 12}
        assert history.query("module == '2'")["epoch"].tolist() == [2 / 3]

    def test_to_stop_before_the_first_step_leaves_an_empty_history(self, train, rows):
        stop = Act()
        stop.on_train_begin = TrainingState.stop
        result = train("end_to_end", stop)
        assert list(result.history) == list(train("end_to_end").history)
        assert (len(result.history), result.table()[1:]) == (0, ([],))
        assert "0 hidden" not in str(result)
        with pytest.raises(ModtoolsError, match="there is no accuracy to draw"):
            result.plot()

    def test_a_frozen_module_stays_frozen_whatever_mode_they_set(
        self, images, conv, recipe, state, differ
    ):
        class Measure(Callback):
            def on_batch_end(self, shown):
                shown.network.eval()
                shown.network.train()

        states = []
        for callbacks in ([], [Measure()]):
            network = conv()
            options = {"at": ["first", "features"], "epochs": 2, "recipe": recipe}
            train_modular(network, images, callbacks=callbacks, **options)
            states.append(state(network))
        assert not differ(*states)

    def test_what_they_draw_at_random_changes_nothing(self, rows, mlp, state, differ):
        draw = Act()
        draw.on_train_begin = draw.on_batch_end = lambda _state: torch.rand(3)
        networks = [mlp(), mlp()]
        before = torch.get_rng_state()
        for network, callbacks in zip(networks, ([], [draw]), strict=True):
            train_modular(network, rows, recipe=CONSTANT, epochs=2, callbacks=callbacks)
        assert not differ(*map(state, networks))
        assert torch.equal(torch.get_rng_state(), before)


class TestErrors:
    @pytest.mark.parametrize(
        ("act", "error"), [(fail, ZeroDivisionError), (ctrl_c, KeyboardInterrupt)]
    )
    def test_whoever_began_is_ended(self, act, error, train):
        before, after = Log(), Log()
        with pytest.raises(error):
            train("sequential", before, Act((1, 2), act), after)
        assert [state.is_finished for state in before.of("end")] == [True, False]
        assert [state.is_finished for state in after.of("end")] == [True, False]
        assert before.of("end")[-1].step == 2

    def test_whoever_did_not_begin_is_not_ended(self, train):
        first, second = Log(), Log()
        broken = Act()
        broken.on_train_begin = fail
        with pytest.raises(ZeroDivisionError):
            train("end_to_end", first, broken, second)
        assert [kind for kind, _ in first.lines] == ["begin", "end"]
        assert second.lines == []

    def test_a_loss_that_diverges_ends_them(self, train):
        log = Log()
        with pytest.raises(ModtoolsError, match=r"became (nan|inf)|no longer finite"):
            train("end_to_end", log, recipe=Recipe(learning_rate=1e30), epochs=50)
        assert not log.of("end")[-1].is_finished

    @pytest.mark.parametrize("callbacks", [3, Log(), [Log], [None], ["log"], [print]])
    @pytest.mark.parametrize("method", ["sequential", "end_to_end"])
    def test_what_is_no_callback_is_refused(self, method, callbacks, train):
        with pytest.raises(ModtoolsError, match="callbacks must be"):
            train(method, callbacks=callbacks)

    @pytest.mark.parametrize("value", [np.ones(3), print, lambda: 0, Recipe()])
    def test_a_state_that_no_checkpoint_can_keep_is_told_at_once(self, value, train, tmp_path):
        odd, log = Act(), Log()
        odd.state_dict = lambda: {"value": value}
        train("end_to_end", odd)  # nothing is to be kept
        with pytest.raises(ModtoolsError, match=r"state_dict\(\) of the callback Act must return"):
            train("end_to_end", odd, log, checkpoint=tmp_path / "run.pt")
        assert log.lines == []


class TestResume:
    """A run stopped by Ctrl-C goes on to the same result, bit for bit."""

    @pytest.mark.parametrize("method", ["sequential", "simultaneous"])
    @pytest.mark.parametrize("place", [(0, 2), (0, 3), (1, 6)])
    def test_with_a_scheduler(self, method, place, train, tmp_path, state, differ):
        def callbacks(act=None):
            make = [
                lambda optimizer: StepLR(optimizer, step_size=1, gamma=0.7),
                lambda optimizer: LambdaLR(optimizer, lambda step: 1 / (1 + step)),
            ]
            every = ["epoch", "batch"][method == "simultaneous"]
            return [Schedule(make[every == "batch"], every), Act(place, act or (lambda _: None))]

        expected = train(method, *callbacks(), epochs=3)
        path = tmp_path / "run.pt"
        with pytest.raises(KeyboardInterrupt):
            train(method, *callbacks(ctrl_c), epochs=3, checkpoint=path)
        result = train(method, *callbacks(), epochs=3, checkpoint=path)
        assert not differ(state(result.network), state(expected.network))
        assert untimed(result).equals(untimed(expected))
        assert expected.history["learning_rate"].nunique() > 3

    @pytest.mark.parametrize("method", ["sequential", "simultaneous", "end_to_end"])
    def test_a_log_in_two_parts_is_the_log_of_one_run(self, method, train, tmp_path):
        def told(*logs):
            return [
                (kind, state.phase, state.step, state.epoch, state.losses, state.learning_rates)
                for log in logs
                for kind, state in log.lines
                if kind in ("batch", "epoch")
            ]

        whole, first, second, path = Log(), Log(), Log(), tmp_path / "run.pt"
        train(method, whole, Act())
        with pytest.raises(KeyboardInterrupt):
            train(method, first, Act((0, 3), ctrl_c), checkpoint=path)
        train(method, second, Act(), checkpoint=path)
        assert told(first, second) == told(whole)
        assert [state.step for state in first.of("begin", "end")] == [0, 3]
        assert second.of("begin")[0].step == 3

    def test_a_phase_that_was_to_stop_is_stopped(self, train, tmp_path):
        path = tmp_path / "run.pt"

        def stop(state):
            state.stop()
            ctrl_c(state)

        with pytest.raises(KeyboardInterrupt):
            train("sequential", Act((0, 2), stop), checkpoint=path)
        history = train("sequential", Act(), checkpoint=path).history
        assert history.groupby("module")["step"].max().to_dict() == {"0": 2, "2": 6, "3": 12}

    def test_what_they_kept_is_given_back_after_the_begin(self, train, tmp_path):
        told = []

        class Count(Callback):
            n = 0

            def on_train_begin(self, state):
                told.append(("begin", state.step))

            def on_batch_end(self, state):
                self.n += 1

            def state_dict(self):
                return {"n": self.n, "weights": {"w": torch.arange(3.0)}}

            def load_state_dict(self, state):
                told.append(("load", state["n"], state["weights"]["w"].tolist()))
                self.n = state["n"]

        path, count = tmp_path / "run.pt", Count()
        with pytest.raises(KeyboardInterrupt):
            train("end_to_end", Count(), Act((0, 4), ctrl_c), checkpoint=path)
        train("end_to_end", count, Act(), checkpoint=path)
        assert told == [("begin", 0), ("begin", 4), ("load", 4, [0.0, 1.0, 2.0])]
        assert count.n == 6

    def test_other_callbacks_are_another_run(self, train, tmp_path):
        path = tmp_path / "run.pt"
        with pytest.raises(KeyboardInterrupt):
            train("end_to_end", Act((0, 2), ctrl_c), checkpoint=path)
        with pytest.raises(ModtoolsError, match=r"callbacks is \['Act'\] there and None here"):
            train("end_to_end", checkpoint=path)
        with pytest.raises(ModtoolsError, match=r"callbacks is \['Act'\] there and \['Log'\] here"):
            train("end_to_end", Log(), checkpoint=path)

    def test_a_state_of_another_kind_does_not_fit(self, train, tmp_path):
        path, act = tmp_path / "run.pt", Act((0, 2), ctrl_c)
        act.state_dict = lambda: {"old": 1}
        with pytest.raises(KeyboardInterrupt):
            train("end_to_end", act, checkpoint=path)
        newer = Act()
        newer.load_state_dict = lambda state: state["new"]
        with pytest.raises(ModtoolsError, match="the checkpoint does not fit this run: 'new'"):
            train("end_to_end", newer, checkpoint=path)

    def test_a_finished_run_calls_nobody(self, train, tmp_path):
        options = {"checkpoint": tmp_path / "run.pt", "keep_checkpoint": True}
        train("sequential", Log(), **options)
        log = Log()
        assert not train("sequential", log, **options).history.empty
        assert log.lines == []


def test_settings_name_them_only_where_there_are_some(train):
    assert "callbacks" not in train("end_to_end").settings
    assert train("end_to_end", Log(), Act()).settings["callbacks"] == ["Log", "Act"]


def test_the_base_class_does_nothing(train, state, differ):
    assert all(place in vars(Callback) for place in PLACES)
    assert Callback().state_dict() == {}
    plain, called = train("sequential"), train("sequential", Callback())
    assert not differ(state(plain.network), state(called.network))
