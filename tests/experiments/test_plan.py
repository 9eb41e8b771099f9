"""The plan of a suite: steps, exact rates, runs that tables share."""

import pytest
from experiments_sample import sample_plan

from t2t_lite import registry
from t2t_lite.errors import UserError
from t2t_lite.experiments.plan import METHODS, TRANSFORMERS, exact_rates
from t2t_lite.experiments.suite import TABLES, Suite, Task, divide_steps
from t2t_lite.hparams.sets import multimodel_tiny
from t2t_lite.problems.problem import get_problems
from t2t_lite.training.mixture import registered_rates
from t2t_lite.training.sampler import make_sampler


@pytest.mark.parametrize("name", ["microworld", "real_eight"])
def test_suites_are_those_of_the_mixtures(name):
    suite = registry.suites.get(name)
    assert len({task.label for task in suite.tasks.values()}) == 8
    if name in registry.mixtures:
        assert set(suite.tasks) == set(registry.mixtures.get(name).rates)
        assert list(get_problems(suite.problems)) == list(suite.problems)
        assert all("test" in problem.splits for problem in get_problems(suite.problems).values())


def test_steps_follow_the_rates_and_sum_up():
    suite = registry.suites.get("microworld")
    for total in (8, 30, 1200, 4700):
        steps = divide_steps(suite, total)
        assert sum(steps[name] for name in suite.tasks) == total
        assert steps["microworld_parsing_small"] == steps["microworld_parsing"]
    assert divide_steps(suite, 1600)["microworld_speech"] == 300
    with pytest.raises(UserError, match="--train_steps=5: leaves no step for problem 'microworld_"):
        divide_steps(suite, 5)


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_the_sampler_draws_each_problem_exactly_as_often_as_planned(seed):
    plan = sample_plan((seed,), train_steps=160)
    for run in (plan.joint(seed), plan.pair("microworld_image", "microworld_ende", seed)):
        hparams = multimodel_tiny().replace(**run.hparams())
        sampler = make_sampler(hparams, registered_rates(run.problems, hparams))
        assert sampler.counts(run.train_steps) == run.steps
        rates = exact_rates(run.steps, seed)
        for name, count in run.steps.items():
            assert rates[name] == pytest.approx(count / run.train_steps, abs=0.15)


def test_alone_a_problem_has_the_steps_of_the_joint_run():
    plan = sample_plan((0,), tables=("joint_vs_alone",))
    joint, *alone = plan.runs.values()
    assert len(alone) == 8 and all(run.steps.items() <= joint.steps.items() for run in alone)
    assert sum(run.train_steps for run in alone) == joint.train_steps == 1200


def test_tables_share_runs():
    plan = sample_plan((0, 1, 2), targets=(), methods=("pair",))
    assert len(plan.runs) == 3 * 26
    assert plan.used_by["alone-microworld_parsing_small-seed0"] == ["small_problem", "transfer"]
    assert plan.used_by["pair-microworld_image-microworld_parsing_small-seed1"] == ["small_problem", "transfer"]
    assert plan.scored["joint-seed0"] == list(plan.suite.tasks)
    assert plan.scored["joint_with-microworld_parsing_small-seed0"] == ["microworld_parsing_small"]
    assert [run.seed for run in plan.runs.values()] == sorted(run.seed for run in plan.runs.values())
    assert all(name == run.name for name, run in plan.runs.items())


def test_names_do_not_depend_on_the_tables_asked_for():
    everything, names = {}, {}
    for tables in (TABLES, *((table,) for table in TABLES)):
        plan = sample_plan((0,), tables=tables)
        for name, run in plan.runs.items():
            content = repr((list(run.steps.items()), run.changes, run.transformer))
            assert everything.setdefault(name, content) == content
            assert names.setdefault(content, name) == name


def test_all_targets_share_their_pairs():
    suite = registry.suites.get("microworld")
    plan = sample_plan((0,), tables=("transfer",), targets=tuple(suite.tasks), methods=METHODS)
    pairs = [name for name in plan.runs if name.startswith("pair-")]
    assert len(pairs) == 28
    assert len([name for name in plan.runs if name.startswith("without-")]) == 8
    assert plan.scored[pairs[0]] == list(plan.runs[pairs[0]].problems)


def test_a_small_problem_that_is_one_of_the_tasks_shares_the_joint_run():
    suite = registry.suites.get("real_eight")
    plan = sample_plan((0,), suite=suite, targets=(), methods=("pair",), tables=("joint_vs_alone", "small_problem"))
    assert plan.used_by["joint-seed0"] == ["joint_vs_alone", "small_problem"]
    assert len(plan.runs) == 10


def test_a_target_that_is_not_in_the_suite():
    with pytest.raises(UserError, match="--transfer_targets: 'microworld_end' is not in the suite; did you mean"):
        sample_plan((0,), targets=("microworld_end",))


def test_a_suite_whose_roles_are_not_its_tasks():
    with pytest.raises(ValueError, match="foreign='b' is not one of its tasks, a"):
        Suite({"a": Task("A", "text")}, small="a", foreign="b", ablated=(), __doc__="")
    with pytest.raises(ValueError, match="no small_task"):
        Suite({"a": Task("A", "text")}, small="c", foreign="a", ablated=(), __doc__="")


@pytest.mark.parametrize("rate", [0, -1, float("inf"), float("nan")])
def test_a_rate_that_is_not_above_0(rate):
    with pytest.raises(ValueError, match=r"suite: the rate of 'a' is .*; it must be a number above 0"):
        Suite({"a": Task("A", "text", rate)}, small="a", foreign="a", ablated=(), __doc__="")


def test_transformers_are_trained_like_the_joint_run():
    plan = sample_plan((0, 1), tables=("models",))
    joint, first, second = [run for run in plan.runs.values() if run.seed == 1]
    assert [run.transformer for run in (joint, first, second)] == ["", *TRANSFORMERS]
    assert joint.steps == first.steps == second.steps and joint.hparams() == first.hparams() == second.hparams()
