"""Early stopping, the best evaluation, and stopping by a signal."""

import json
import math
import signal

import pytest

from t2t_lite.bin import trainer
from t2t_lite.bin.command import _command_line
from t2t_lite.errors import Stopped, UserError
from t2t_lite.training.early_stopping import EvaluationTracker, Metric
from t2t_lite.training.stop_signals import StopSignals

PROBLEMS = ["reverse", "copy"]


def scores(reverse, copy=1.0, name="loss"):
    return {"reverse": {name: reverse}, "copy": {name: copy}}


def follow(tracker, values, name="loss", first=10):
    """Evaluations every 10 steps; returns whether to stop after each."""
    stops = []
    for number, value in enumerate(values):
        tracker.update(first + 10 * number, {p: {"loss": 0.0, name: value} for p in PROBLEMS})
        stops.append(tracker.stop_reason() is not None)
    return stops


class TestMetric:
    def test_of_one_problem_or_the_mean_of_all(self):
        assert Metric.parse("f", "copy:loss", PROBLEMS).of(scores(2.0, 4.0)) == 4.0
        assert Metric.parse("f", "loss", PROBLEMS).of(scores(2.0, 4.0)) == 3.0

    @pytest.mark.parametrize("name", ["loss", "log_perplexity"])
    def test_lower_is_better(self, name):
        metric = Metric.parse("f", name, PROBLEMS)
        assert metric.is_better(1.0, 2.0) and not metric.is_better(2.0, 1.0) and not metric.is_better(1.0, 1.0)

    @pytest.mark.parametrize("name", ["accuracy", "accuracy_per_sequence", "accuracy_top5"])
    def test_higher_is_better(self, name):
        metric = Metric.parse("f", name, PROBLEMS)
        assert metric.is_better(0.2, 0.1) and not metric.is_better(0.1, 0.2)

    def test_a_value_that_is_not_finite_is_never_better(self):
        assert not Metric("loss").is_better(math.nan, 5.0)
        assert not Metric("loss").is_better(-math.inf, 5.0)
        assert not Metric("loss").is_better(math.nan, None)
        assert Metric("loss").is_better(5.0, None)

    @pytest.mark.parametrize(
        "text,message",
        [
            ("revers:loss", "--early_stop_metric: no problem 'revers' in this run; did you mean 'reverse'"),
            ("acuracy", "--early_stop_metric: unknown metric 'acuracy'; did you mean 'accuracy'"),
            ("copy:bleu", "unknown metric 'bleu'; known: accuracy, accuracy_per_sequence"),
            (":loss", "no problem ''"),
        ],
    )
    def test_an_unknown_one_suggests_the_nearest(self, text, message):
        with pytest.raises(UserError, match=message):
            EvaluationTracker(PROBLEMS, early_stop_metric=text)


class TestEvaluationTracker:
    def test_the_best_step(self):
        tracker = EvaluationTracker(PROBLEMS, "reverse:accuracy")
        follow(tracker, [0.1, 0.5, 0.4, 0.5, 0.3], "accuracy")
        assert tracker.best_step == 20

    def test_stops_after_as_many_evaluations_without_improvement(self):
        tracker = EvaluationTracker(PROBLEMS, early_stop_metric="loss", early_stop_patience=2)
        assert follow(tracker, [5, 4, 4.5, 3, 3, 3.1]) == [False] * 5 + [True]
        assert "stopped early at step 60: loss has not improved for 2 evaluations; its best was 3 at step 40" in (
            tracker.stop_reason()
        )

    def test_without_a_metric_it_never_stops(self):
        assert not any(follow(EvaluationTracker(PROBLEMS), [1, 2, 3, 4, 5]))

    def test_a_restored_one_equals_one_never_stopped(self):
        values = [5, 4, 4.5, 3, 3, 3.1, 3.2]
        for cut in range(len(values)):
            unbroken, first, second = (EvaluationTracker(PROBLEMS, "copy:loss", "reverse:loss", 3) for _ in range(3))
            expected = follow(unbroken, values)
            found = follow(first, values[:cut])
            second.restore(json.loads(json.dumps(first.state())))
            found += follow(second, values[cut:], first=10 + 10 * cut)
            assert found == expected
            assert second.state() == unbroken.state()

    def test_another_metric_does_not_restore_the_old_best(self):
        first, second = EvaluationTracker(PROBLEMS, "loss"), EvaluationTracker(PROBLEMS, "accuracy")
        follow(first, [5, 4])
        second.restore(first.state())
        assert (second.best_step, second.evaluated_step) == (None, 20)


class TestSignals:
    def test_the_first_waits_for_the_end_of_the_step(self):
        with pytest.raises(Stopped, match="stopped by SIGTERM; step 7 is saved") as stopped, StopSignals() as stop:
            stop.defer()
            signal.raise_signal(signal.SIGTERM)
            assert stop.requested
            signal.raise_signal(signal.SIGTERM)  # a second one changes nothing
            stop.saved_step = 7
        assert stopped.value.status == 143

    def test_a_second_ctrl_c_stops_at_once(self):
        with pytest.raises(Stopped, match="stopped by Ctrl-C; step 3 is saved") as stopped, StopSignals() as stop:
            stop.defer()
            stop.saved_step = 3
            signal.raise_signal(signal.SIGINT)
            signal.raise_signal(signal.SIGINT)
            stop.saved_step = 4
        assert stopped.value.status == 130

    def test_before_the_first_step_it_stops_at_once(self):
        with pytest.raises(Stopped, match="nothing is saved yet"), StopSignals() as stop:
            signal.raise_signal(signal.SIGINT)
            stop.saved_step = 1

    def test_an_interrupt_that_comes_out_as_another_error_is_reported_as_an_interrupt(self):
        with pytest.raises(Stopped, match="stopped by Ctrl-C"), StopSignals():
            try:
                signal.raise_signal(signal.SIGINT)
            except KeyboardInterrupt:
                raise SystemError("bad argument to internal function") from None

    def test_an_interruptible_block_is_left(self):
        done = []
        with pytest.raises(Stopped), StopSignals() as stop:
            stop.defer()
            with stop.interruptible() as check:
                check()
                signal.raise_signal(signal.SIGTERM)
                done.append("assigned")
                check()
                done.append("evaluated")
            done.append("went on")
        assert done == ["assigned", "went on"]

    def test_another_error_passes_and_the_handlers_are_restored(self):
        before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
        with pytest.raises(UserError, match="full"), StopSignals() as stop:
            stop.defer()
            signal.raise_signal(signal.SIGTERM)
            raise UserError("full")
        assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before

    def test_without_a_signal_nothing_happens(self):
        with StopSignals() as stop:
            stop.defer()
        assert not stop.requested


class TestTheCommandToGoOn:
    def test_as_it_was_typed(self, monkeypatch):
        arguments = ["--hparams=dropout=0.1,seed=2", "--data_dir=my data"]
        monkeypatch.setattr("sys.argv", [".venv/bin/t2t-trainer", *arguments])
        expected = ".venv/bin/t2t-trainer --hparams=dropout=0.1,seed=2 '--data_dir=my data'"
        assert _command_line("t2t-trainer", arguments, own_process=True) == expected
        monkeypatch.setattr("sys.argv", ["/lib/t2t_lite/bin/trainer.py", *arguments])
        monkeypatch.setattr("sys.orig_argv", ["python", "-m", "t2t_lite.bin.trainer", *arguments])
        expected = "python -m t2t_lite.bin.trainer --hparams=dropout=0.1,seed=2 '--data_dir=my data'"
        assert _command_line("t2t-trainer", arguments, own_process=True) == expected


class TestFlags:
    FLAGS = ("--hparams_set=session_tiny", "--output_dir=o", "--train_steps=1")

    @pytest.mark.parametrize(
        "flag,message,status",
        [
            ("--early_stop_metric=session_revers:loss --early_stop_patience=2", "did you mean 'session_reverse'", 1),
            ("--early_stop_metric=los --early_stop_patience=2", "--early_stop_metric: unknown metric 'los'", 1),
            ("--keep_best=wer", "--keep_best: unknown metric 'wer'", 1),
            ("--early_stop_metric=loss", "--early_stop_metric and --early_stop_patience belong together", 2),
            ("--early_stop_patience=0", "--early_stop_patience=0: expected a whole number, at least 1", 2),
            ("--save_every=0", "--save_every=0: expected a whole number, at least 1", 2),
            ("--save_minutes=-1", "--save_minutes=-1: expected a whole number, at least 0", 2),
            ("--save_minutes=0.5", "--save_minutes=0.5: expected a whole number, at least 0", 2),
        ],
    )
    def test_mistakes_are_errors_before_training(self, session_problems, tmp_path, capsys, flag, message, status):
        flags = [*self.FLAGS, "--problem=session", f"--data_dir={tmp_path}", *flag.split()]
        assert trainer.main(flags) == status
        assert message in capsys.readouterr().err
