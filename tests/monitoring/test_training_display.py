"""The display of a training run, with a clock that the test moves."""

import io
import math

import pytest

from t2t_lite.monitoring.training_display import TrainingDisplay


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


def log(names=("one",), total=100, start=0, **options):
    """A display that writes to a log: its clock, its output and itself."""
    clock, out = Clock(), io.StringIO()
    return clock, out, TrainingDisplay(total, start, list(names), file=out, clock=clock, **options)


class TestLog:
    def test_prints_a_line_every_ten_seconds_and_one_at_the_end(self):
        clock, out, display = log(["one", "two"], start=20)
        with display:
            for step in range(21, 31):
                clock.now += 2.5
                display.update(step, "one", {"loss": 2.0, "accuracy": 0.25, "tokens": 50})
        assert out.getvalue().splitlines() == [
            "step 24 of 100, 0.40 steps/s, 3:10 left, mean loss 2.000, 20 tokens/s",  # 76 steps of 2.5 s
            "step 28 of 100, 0.40 steps/s, 3:00 left, mean loss 2.000, 20 tokens/s",
            "step 30 of 100, 0.40 steps/s, 2:55 left, mean loss 2.000, 20 tokens/s",
        ]

    def test_the_first_step_of_each_problem_does_not_count_for_the_speed(self):
        clock, out, display = log(["one", "two"], total=102, every=70)
        with display:
            steps = [("one", 30), ("one", 1), ("two", 40), ("one", 3), ("two", 2)]
            for step, (problem, seconds) in enumerate(steps, 1):
                clock.now += seconds
                display.update(step, problem, {"tokens": 80})
        first, last = out.getvalue().splitlines()
        assert first == "step 3 of 102, 1.00 steps/s, 1:39 left, 80 tokens/s"
        assert last == "step 5 of 102, 0.50 steps/s, 3:14 left, 40 tokens/s"  # 3 steps in 6 s

    def test_the_loss_is_the_mean_over_problems_of_running_means(self):
        _, out, display = log(["one", "two", "three"])
        with display:
            display.update(1, "one", {"loss": 2.0})
            display.update(2, "one", {"loss": 1.0})  # 1.9
            display.update(3, "two", {"loss": 1.0})
        assert out.getvalue() == "step 3 of 100, mean loss 1.450\n"

    def test_waiting_and_skipped_steps(self):
        clock, out, display = log()
        with display:
            for step in (1, 2, 3, 4):
                clock.now += 2
                skipped = {"skipped": 1, "loss": math.nan} if step == 3 else {"skipped": 0, "loss": 2.0}
                display.update(step, "one", {"learning_rate": 0.001 * step, "input_seconds": 0.5, **skipped})
        (line,) = out.getvalue().splitlines()
        # A loss that is not finite does not enter the mean.
        assert line.endswith("mean loss 2.000, 0 tokens/s, 25% waiting for input, 1 skipped (not finite)")

    def test_a_pause_counts_for_the_time_left_but_not_for_the_speed(self):
        clock, out, display = log(total=104, every=1000)
        with display:
            for step in (1, 2, 3, 4):
                clock.now += 1
                display.update(step, "one", {})
                if step == 2:
                    clock.now += 6
                    display.exclude_pause()
        # Three timed steps of a second, and six seconds of evaluation: 100 more take 100 * 9 / 3 seconds.
        assert out.getvalue().startswith("step 4 of 104, 1.00 steps/s, 5:00 left")

    def test_a_message_follows_the_line_of_the_steps_so_far_which_is_printed_once(self):
        clock, out, display = log(total=10)
        with display:
            display.message("saved [step 0]")
            display.update(1, "one", {})
            display.message("saved [step 1]")
            clock.now += 10
        assert out.getvalue().splitlines() == ["saved [step 0]", "step 1 of 10", "saved [step 1]"]

    @pytest.mark.parametrize("loss", [4.0, 1e-30, 3.4e38, -1e300])
    @pytest.mark.parametrize("seconds", [1e-9, 1.0, 1e7, 1e30])
    @pytest.mark.parametrize("step", [2, 10**6, 10**18, 10**90])
    def test_no_line_is_longer_than_120_characters(self, loss, seconds, step):
        clock, out, display = log(["p" * 300, "q"], total=7 * step)
        with display:
            for number in (step - 1, step):
                clock.now += seconds
                figures = {"loss": loss, "accuracy": 1.0, "tokens": 1e300, "skipped": 10**9, "learning_rate": 1e-300}
                display.update(number, "p" * 300, figures | {"input_seconds": 1e300})
            display.print_table()
        lines = out.getvalue().splitlines()
        assert len(lines) >= 4 and max(map(len, lines)) <= 120
        if step < 10**18:
            assert all("skipped" in line for line in lines if line.startswith("step"))

    def test_prints_the_table_when_asked_and_every_few_minutes(self):
        clock, out, display = log(["one", "two", "three"], every=10, table_every=30)
        with display:
            for step in range(1, 8):
                clock.now += 10
                name = "two" if step % 2 else "one"
                display.update(step, name, {"loss": 12.5, "accuracy": 0.5, "tokens": 64, "learning_rate": 0.5})
                if step == 2:
                    display.print_table()
        table = ["problem  steps    loss  accuracy  tokens/s", "learning rate 5.00e-01"]
        lines = out.getvalue().splitlines()
        assert [line for line in lines if line in table] == table * 2
        assert lines[:6] == [
            "step 1 of 100, mean loss 12.500",
            "step 2 of 100, mean loss 12.500",
            table[0],
            "one          1  12.500     50.0%",
            "two          1  12.500     50.0%",
            table[1],
        ]
        assert lines[9:12] == [
            table[0],
            "one          2  12.500     50.0%         2",
            "two          3  12.500     50.0%         4",
        ]

    def test_prints_no_table_before_the_first_step(self):
        _, out, display = log()
        with display:
            display.print_table()
        assert out.getvalue() == ""


class TestTerminal:
    def test_shows_a_table_with_a_row_for_each_problem(self):
        clock, out = Clock(), Terminal()
        with TrainingDisplay(7200, 0, ["one", "two"], file=out, clock=clock) as display:
            for step in (1, 2):
                clock.now += 1
                figures = {"loss": 1.5, "accuracy": 0.5, "tokens": 64, "learning_rate": 0.5, "skipped": 1}
                display.update(step, "two", figures)
            display.message("saved")
            display.print_table()
        shown = out.getvalue()
        assert "tokens/s" in shown and "1.500" in shown and "50.0%" in shown and "64" in shown
        assert "one" in shown and "saved" in shown
        assert "1:59:58 left" in shown
        assert "learning rate 5.00e-01, 2 skipped (not finite)" in shown

    def test_an_error_inside_restores_the_cursor(self):
        out = Terminal()
        with pytest.raises(RuntimeError), TrainingDisplay(2, 0, ["one"], file=out, clock=Clock()):
            raise RuntimeError("any error")
        assert out.getvalue().rstrip().endswith("\x1b[?25h")


@pytest.mark.parametrize(
    "seconds,expected",
    [(0, "0:00"), (62, "1:02"), (3723, "1:02:03"), (86399.7, "1 day 0:00:00"), (9e7, "over 1000 days")],
)
def test_durations(seconds, expected):
    clock, out, display = log(total=3)
    with display:
        display.update(1, "one", {})
        clock.now += max(seconds, 1e-9)
        display.update(2, "one", {})
    assert f", {expected} left" in out.getvalue()
