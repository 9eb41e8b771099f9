"""Tables, claims and the transfer matrix, against NumPy and by altered scores; results.json and Markdown."""

import json

import numpy as np
import pytest
from experiments_sample import SETTINGS, sample_outcomes, sample_plan, sample_results

from t2t_lite.experiments import results as results_module
from t2t_lite.experiments.results import make_results, markdown, write_results
from t2t_lite.experiments.tables import make_tables


@pytest.fixture(scope="module")
def results():
    return sample_results()


def table(results, name):
    return next(each for each in (*results["tables"], *results["transfer"]) if each["name"] == name)


def altered(change, **options):
    """The tables after a change of the log-perplexities: change(run, problem, value) -> value."""
    plan = sample_plan(targets=(), methods=("pair",), **options)
    outcomes = sample_outcomes(plan)
    for name, outcome in outcomes.items():
        for problem, scores in outcome.scores.items():
            scores["log_perplexity"] = change(plan.runs[name], problem, scores["log_perplexity"])
    return make_results("microworld", plan, SETTINGS | {"train_steps": plan.train_steps}, outcomes)


def test_cells_are_mean_and_sample_deviation_over_seeds(results):
    runs = {run["name"]: run for run in results["runs"]}
    joint = table(results, "joint_vs_alone")
    keys = [column["key"] for column in joint["columns"]]
    assert keys == ["steps", "log_perplexity", "accuracy", "accuracy_per_sequence", "figure"]
    row = next(r for r in joint["rows"] if (r["problem"], r["variant"]) == ("microworld_ende", "joint"))
    for key, metric in zip(keys[1:], [*keys[1:4], "bleu"], strict=True):
        values = [runs[f"joint-seed{seed}"]["scores"]["microworld_ende"][metric] for seed in range(3)]
        cell = row["cells"][keys.index(key)]
        assert cell["values"] == values
        assert cell["mean"] == pytest.approx(np.mean(values))
        assert cell["spread"] == pytest.approx(np.std(values, ddof=1))
    assert row["cells"][0]["mean"] == 113
    assert row["cells"][1]["paper"] == 1.4 and row["cells"][4]["metric"] == "bleu"
    assert row["cells"][4]["text"].startswith("BLEU ")


def test_every_row_has_a_cell_for_each_column(results):
    for each in results["tables"]:
        assert {len(row["cells"]) for row in each["rows"]} == {len(each["columns"])}
    assert [len(each["rows"]) for each in results["tables"]] == [16, 3, 6, 24]


def test_the_gains_are_differences_of_log_perplexity(results):
    matrix = table(results, "transfer")
    runs = {run["name"]: run for run in results["runs"]}
    target, source = "microworld_parsing", "microworld_image"
    row = [each["name"] for each in matrix["targets"]].index(target)
    cell = matrix["gains"][row][[each["name"] for each in matrix["sources"]].index(source)]
    gains = [
        runs[f"alone-{target}-seed{seed}"]["scores"][target]["log_perplexity"]
        - runs[f"pair-{source}-{target}-seed{seed}"]["scores"][target]["log_perplexity"]
        for seed in range(3)
    ]
    assert cell["values"] == pytest.approx(gains)
    assert cell["text"].startswith("+0.")
    assert matrix["gains"][row][[each["name"] for each in matrix["sources"]].index(target)] is None


def test_a_claim_that_fails_is_said_to_fail():
    def worse_jointly(run, problem, value):
        return value + 2 if len(run.problems) == 8 and problem == "microworld_image" else value

    claim = table(altered(worse_jointly), "joint_vs_alone")["claim"]
    assert claim["verdict"] == "fails"
    assert "7 of 8 problems are better, 0 within the spread, 1 worse (Picture to class, joint)" in claim["sentence"]
    assert claim["sentence"].endswith("the claim fails here.")

    def better_without(run, problem, value):
        return value - 1 if run.changes.get("use_experts") is False else value

    claim = table(altered(better_without), "ablation")["claim"]
    assert claim["verdict"] == "fails" and "2 worse" in claim["sentence"]


def test_a_claim_that_nothing_supports():
    def by_seed(run, problem, value):
        return 2.0 + 0.1 * run.seed

    results = altered(by_seed)
    assert table(results, "joint_vs_alone")["claim"]["verdict"] == "within the spread"
    assert table(results, "small_problem")["claim"]["verdict"] == "within the spread"
    assert table(results, "ablation")["claim"]["verdict"] == "holds"  # nothing is hurt
    assert "(0.000 ± 0.000)" in "\n".join(markdown(results))


def test_one_seed_gives_no_verdict():
    claims = [each["claim"]["verdict"] for each in sample_results(seeds=(0,), targets=(), methods=("pair",))["tables"]]
    assert claims == ["one seed"] * 4
    row = sample_results(seeds=(0,), targets=())["tables"][1]["rows"][0]
    assert row["cells"][1]["spread"] is None and "±" not in row["cells"][1]["text"]


def test_runs_that_diverged_or_were_cut_short_are_named_and_left_out(results):
    notes = " ".join(results["notes"])
    assert "run alone-microworld_speech-seed0 (joint_vs_alone, transfer) diverged and is left out: the loss is" in notes
    assert (
        "alone-microworld_enfr-seed0 (joint_vs_alone, transfer) was cut short at step 50 of 112 and is left out"
        in notes
    )
    alone = [row for row in table(results, "joint_vs_alone")["rows"] if row["variant"] == "alone"]
    assert alone[0]["cells"][1]["values"][0] is None and len(alone[0]["cells"][1]["values"]) == 3
    assert not results["complete"]


def test_nothing_trained_yet():
    plan = sample_plan((0, 1), targets=())
    tables = make_tables(plan, {}, plan.runs)
    assert {each["claim"]["verdict"] for each in tables["tables"]} == {"missing"}
    assert len(tables["notes"]) == len(plan.runs)


def test_the_memory_is_known_without_the_name_of_the_processor(monkeypatch):
    read = results_module.Path.read_text

    def on_arm(path, **options):
        return "Features: fp" if str(path) == "/proc/cpuinfo" else read(path, **options)

    monkeypatch.setattr(results_module.Path, "read_text", on_arm)
    machine = sample_results(seeds=(0,), targets=())["machine"]
    assert machine["memory_bytes"] > 0 and machine["processor"]


def test_the_files(results, tmp_path):
    write_results(tmp_path, results)
    stored = json.loads((tmp_path / "results.json").read_text())
    assert stored["format"] == 1 and len(stored["runs"]) == len(results["runs"])
    text = (tmp_path / "results.md").read_text()
    tables = [block.splitlines() for block in text.split("\n\n") if block.startswith("| ")]
    assert len(tables) == 6
    for lines in tables:
        assert len({line.count(" | ") for line in lines}) == 1
    assert "paper: log-perplexity" in text and "the claim" in text
