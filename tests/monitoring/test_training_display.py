"""The display of a training run, with a clock that the test moves."""

import io
import math

from t2t_lite.monitoring.training_display import TrainingDisplay


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_gets_a_line_every_so_many_seconds():
    clock, out = Clock(), io.StringIO()
    with TrainingDisplay(100, 20, ["one", "two"], every=10, file=out, clock=clock) as progress:
        for step in range(21, 31):
            clock.now += 2.5
            progress.update(step, "one", {"loss": 2.0, "accuracy": 0.25, "tokens": 50})
    lines = out.getvalue().splitlines()
    # 10 steps of 2.5 s: a line at 10 s and at 20 s, and the last one on leaving.
    assert [line.split(",")[0] for line in lines] == ["step 24 of 100", "step 28 of 100", "step 30 of 100"]
    assert "0.40 steps/s, 3:10 left, 20 tokens/s; one: loss 2.000 accuracy 25.0%" in lines[0]  # 76 steps of 2.5 s
    assert "two" not in lines[0]


def test_the_first_step_of_each_problem_does_not_count_as_speed():
    clock, out = Clock(), io.StringIO()
    with TrainingDisplay(102, 0, ["one", "two"], every=70, file=out, clock=clock) as progress:
        for step, (problem, seconds) in enumerate([("one", 30), ("one", 1), ("two", 40), ("one", 3), ("two", 2)], 1):
            clock.now += seconds
            progress.update(step, problem, {"tokens": 80})
    first, last = out.getvalue().splitlines()
    assert first.startswith("step 3 of 102, 1.00 steps/s, 1:39 left, 80 tokens/s")
    assert last.startswith("step 5 of 102, 0.50 steps/s, 3:14 left, 40 tokens/s")  # 3 steps of 2 s


def test_figures_are_running_means():
    out = io.StringIO()
    with TrainingDisplay(10, 0, ["one"], file=out, clock=Clock()) as progress:
        progress.update(1, "one", {"loss": 2.0, "accuracy": 0.0})
        progress.update(2, "one", {"loss": 1.0, "accuracy": 1.0})
    assert "loss 1.900 accuracy 10.0%" in out.getvalue()


def test_what_holds_for_all_problems_is_told_once():
    clock, out = Clock(), io.StringIO()
    with TrainingDisplay(100, 0, ["one", "two"], every=10, file=out, clock=clock) as progress:
        for step in (1, 2, 3, 4):
            clock.now += 2
            skipped = (
                {"skipped": 1, "loss": math.nan, "accuracy": math.nan} if step == 3 else {"skipped": 0, "loss": 2.0}
            )
            progress.update(step, "one", {"learning_rate": 0.001 * step, "input_seconds": 0.5, **skipped})
    (line,) = out.getvalue().splitlines()
    assert ", learning rate 4.00e-03, 25% waiting for input, 1 skipped (not finite); one: " in line
    assert line.endswith("one: loss 2.000 accuracy -")  # what is not finite does not spoil the mean


def test_an_evaluation_counts_for_the_time_left_but_not_for_the_speed():
    clock, out = Clock(), io.StringIO()
    with TrainingDisplay(104, 0, ["one"], every=1000, file=out, clock=clock) as progress:
        for step in (1, 2, 3, 4):
            clock.now += 1
            progress.update(step, "one", {})
            if step == 2:
                clock.now += 6
                progress.exclude_pause()
    # Three timed steps of a second, and six seconds of evaluation: 100 more take 100 * 9 / 3 seconds.
    assert out.getvalue().startswith("step 4 of 104, 1.00 steps/s, 5:00 left")


def test_no_line_is_told_twice_and_messages_come_through():
    clock, out = Clock(), io.StringIO()
    with TrainingDisplay(10, 0, ["one"], every=10, file=out, clock=clock) as progress:
        progress.message("saved [step 0]")
        clock.now += 10
        progress.update(1, "one", {})
    assert out.getvalue().splitlines() == [
        "saved [step 0]",
        "step 1 of 10; one: loss - accuracy -",
    ]


def test_a_terminal_gets_a_table_with_a_row_a_problem():
    clock, out = Clock(), Terminal()
    with TrainingDisplay(7200, 0, ["one", "two"], file=out, clock=clock) as progress:
        for step in (1, 2):
            clock.now += 1
            progress.update(
                step, "two", {"loss": 1.5, "accuracy": 0.5, "tokens": 64, "learning_rate": 0.5, "skipped": 1}
            )
        progress.message("saved")
    shown = out.getvalue()
    assert "tokens/s" in shown and "1.500" in shown and "50.0%" in shown and "64" in shown
    assert "one" in shown and "saved" in shown
    assert "1:59:58 left" in shown
    assert "learning rate 5.00e-01, 2 skipped (not finite)" in shown


def test_an_error_inside_leaves_the_terminal_whole():
    out = Terminal()
    try:
        with TrainingDisplay(2, 0, ["one"], file=out, clock=Clock()):
            raise RuntimeError("out of memory")
    except RuntimeError:
        pass
    assert out.getvalue().rstrip().endswith("\x1b[?25h")  # the cursor is shown again
