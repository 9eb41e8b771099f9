"""The mixture's rates by registration, size, temperature and losses; samplers, the table, batch multipliers."""

import collections
import json
import math
from types import SimpleNamespace

import pytest
from checks import problem

from t2t_lite import registry
from t2t_lite.bin import trainer
from t2t_lite.data import lengths
from t2t_lite.data.reading import Dataset
from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams, override
from t2t_lite.problems import Image, Label, Mixture, Problem, Text
from t2t_lite.problems.problem import get_problems
from t2t_lite.training.mixture import TrainingMixture, registered_rates
from t2t_lite.training.sampler import AdaptiveSampler, ProblemSampler, make_sampler

RATES = {"large": 0.6, "small": 0.3, "rare": 0.1}


def test_the_sampler_depends_on_seed_and_step_alone():
    first, second = ProblemSampler(RATES, 1), ProblemSampler(RATES, 1)
    forwards = [first(step) for step in range(50)]
    backwards = [second(step) for step in reversed(range(50))][::-1]
    assert forwards == backwards
    assert forwards != [ProblemSampler(RATES, 2)(step) for step in range(50)]


def test_the_sampler_follows_the_rates():
    sampler = ProblemSampler(RATES, 0)
    drawn = collections.Counter(sampler(step) for step in range(4000))
    for name, rate in RATES.items():
        assert drawn[name] / 4000 == pytest.approx(rate, abs=0.03)


@pytest.mark.parametrize("steps", [0, 1, 137])
def test_counts_are_those_of_the_samples(steps):
    sampler = ProblemSampler(RATES, 3)
    drawn = collections.Counter(sampler(step) for step in range(steps))
    assert sampler.counts(steps) == {name: drawn[name] for name in RATES}
    assert sampler.state() == {"counts": sampler.counts(steps)}
    resumed = ProblemSampler(RATES, 3)
    resumed.restore(json.loads(json.dumps(sampler.state())))
    resumed._seed = None  # counts are kept, no step is sampled again
    assert resumed.counts(steps) == sampler.counts(steps)
    for step in range(steps, steps + 5):
        sampler.update(sampler(step), 1.0)
    fresh = ProblemSampler(RATES, 3)
    assert sampler.counts(steps + 5) == fresh.counts(steps + 5) == fresh.state()["counts"]


@pytest.fixture
def mixtures():
    with registry.mixtures.temporary(), registry.problems.temporary():
        for name in "abcd":
            registry.problems.register(Problem, name=name)
        registry.mixtures.register(Mixture({"a": 1, "b": 3}, "Two."), name="two")
        registry.mixtures.register(Mixture({"two": 2, "c": 2}, "Nested."), name="nested")
        yield


class TestRegisteredRates:
    @pytest.mark.parametrize(
        "names,instead,expected",
        [
            (["a"], "", {"a": 1.0}),
            (["a", "b"], "", {"a": 0.5, "b": 0.5}),
            (["two"], "", {"a": 0.25, "b": 0.75}),
            (["nested"], "", {"a": 0.125, "b": 0.375, "c": 0.5}),
            # A mixture counts as many times as it has problems.
            (["two", "d"], "", {"a": 2 / 3 / 4, "b": 2 / 3 * 3 / 4, "d": 1 / 3}),
            (["nested", "d"], "", {"a": 0.75 / 8, "b": 0.75 * 3 / 8, "c": 0.75 / 2, "d": 0.25}),
            (["two", "a"], "", {"a": 2 / 3 / 4 + 1 / 3, "b": 2 / 3 * 3 / 4}),
            # Rates given by name stand where the registered ones stood, or the 1 of a problem alone.
            (["a", "b"], "a:2", {"a": 2 / 3, "b": 1 / 3}),
            (["two"], "b:1", {"a": 0.5, "b": 0.5}),
            (["nested"], "two:6,b:1", {"a": 0.375, "b": 0.375, "c": 0.25}),
            (["two", "d"], "two:1,d:3", {"a": 0.25 / 4, "b": 0.25 * 3 / 4, "d": 0.75}),
        ],
    )
    def test_rates_of_problems_and_mixtures(self, mixtures, names, instead, expected):
        rates = registered_rates(names, HParams(mixture_rates=instead))
        assert rates == pytest.approx(expected)
        assert sum(rates.values()) == pytest.approx(1.0)

    def test_an_unknown_name_suggests_the_nearest(self, mixtures):
        with pytest.raises(UserError, match="mixture_rates: 'twoo' is not trained here; did you mean 'two'"):
            registered_rates(["nested"], HParams(mixture_rates="twoo:2"))
        with pytest.raises(UserError, match="'d' is not trained here"):
            registered_rates(["nested"], HParams(mixture_rates="d:2"))


def test_a_mixture_that_contains_itself_is_refused(mixtures, tmp_path, capsys):
    registry.mixtures.register(Mixture({"a": 1, "outer": 1}, "Inner."), name="inner")
    registry.mixtures.register(Mixture({"inner": 1}, "Outer."), name="outer")
    message = "mixture 'outer' contains itself: outer > inner > outer"
    with pytest.raises(UserError, match=message):
        get_problems(["two", "outer"])
    flags = ["--problem=outer", "--hparams_set=multimodel_tiny", f"--data_dir={tmp_path}", "--dry_run"]
    assert trainer.main(flags) == 1
    assert message in capsys.readouterr().err
    registry.mixtures.register(Mixture({"two": 1, "nested": 1}, "The same one twice is no circle."), name="twice")
    assert list(get_problems(["twice"])) == ["a", "b", "c"]


@pytest.mark.parametrize("rate", [0, -1, math.inf, math.nan])
def test_a_registered_rate_must_be_above_0(rate):
    with pytest.raises(ValueError, match="rate of 'b'"):
        Mixture({"a": 1, "b": rate}, "Wrong.")


class TestHParams:
    def test_values_by_problem_among_other_hparams(self):
        hparams = override(HParams(), "mixture_rates=a:2,b.mine:0.5,dropout=0.3,batch_multipliers=c:4")
        assert hparams.per_problem("mixture_rates") == {"a": 2.0, "b.mine": 0.5}
        assert hparams.per_problem("batch_multipliers") == {"c": 4.0}
        assert hparams.dropout == 0.3

    @pytest.mark.parametrize(
        "overrides,message",
        [
            ("mixture_rates=a:0", "mixture_rates: 'a:0': the number must be above 0"),
            ("mixture_rates=a", "mixture_rates: 'a' is not of the form"),
            ("mixture_rates=a:1,a:2", "'a' comes twice"),
            ("batch_multipliers=a:nan", "batch_multipliers: 'a:nan'"),
            ("batch_multipliers=a:-1", "batch_multipliers: 'a:-1' is not of the form"),
            ("mixture=even", "mixture is 'even', expected one of rates, proportional, temperature, adaptive"),
            ("mixture=temperature,mixture_rates=a:1", "mixture_rates have no effect with mixture=temperature"),
            ("mixture_temperature=0.5", "mixture_temperature=0.5 must be at least 1"),
        ],
    )
    def test_wrong_values_are_errors(self, overrides, message):
        with pytest.raises(UserError) as e:
            override(HParams(), overrides)
        assert message in str(e.value)


def stored(positions, inputs=None, targets=None, name="x"):
    """A stand-in for a Dataset with {positions: examples}, as far as TrainingMixture reads it."""
    declared = problem(name, inputs or Text(max_length=64), targets or Text(max_length=64))
    return SimpleNamespace(problem=declared, split=lambda split: SimpleNamespace(positions=positions))


@pytest.fixture
def datasets(mixtures):
    """a: 100 examples, b: 400, c: 1600, of eight positions each."""
    return {name: stored({8: count}, name=name) for name, count in (("a", 100), ("b", 400), ("c", 1600))}


class TestBySize:
    @pytest.mark.parametrize(
        "settings,expected",
        [
            ({"mixture": "proportional"}, (1, 4, 16)),
            ({"mixture": "proportional", "mixture_cap": 400}, (1, 4, 4)),
            ({"mixture": "temperature"}, (1, 2, 4)),  # T is 2
            ({"mixture": "temperature", "mixture_temperature": 1.0}, (1, 4, 16)),
            ({"mixture": "temperature", "mixture_temperature": 1e9}, (1, 1, 1)),
            ({"mixture": "temperature", "mixture_cap": 100}, (1, 1, 1)),
            ({"mixture": "rates"}, (1, 1, 1)),
            ({"mixture": "adaptive", "mixture_rates": "c:2"}, (1, 1, 2)),
        ],
    )
    def test_rates(self, datasets, settings, expected):
        rates = TrainingMixture("abc", datasets, HParams(**settings)).rates
        assert rates == pytest.approx({name: n / sum(expected) for name, n in zip("abc", expected, strict=True)})

    def test_examples_that_are_too_long_do_not_count(self, mixtures, session_data, session_problems):
        datasets = {name: Dataset.open(session_data, name) for name in ("session_reverse", "session_tones")}
        datasets["session_tones"].split("train").positions = {5: 200}
        rates = TrainingMixture(list(datasets), datasets, HParams(mixture="proportional")).rates
        assert rates == pytest.approx({"session_reverse": 0.75, "session_tones": 0.25})

    def test_rates_of_tokens_become_rates_of_steps(self, mixtures):
        """A batch of eight small pictures has fewer positions than one of texts: as many tokens take more steps."""
        hparams = HParams(batch_tokens=64, batch_max_examples=8, mixture_unit="tokens")
        datasets = {"a": stored({8: 800}, name="a"), "b": stored({1: 160}, Image(24, 20), Label(("x",)), name="b")}
        mixture = TrainingMixture("ab", datasets, hparams)
        assert [mixture.rows[name].tokens for name in "ab"] == [64.0, 32.0]  # 2 x 2 positions a picture
        assert mixture.rates == pytest.approx({"a": 1 / 3, "b": 2 / 3})

    def test_a_picture_counts_as_the_positions_that_its_net_leaves(self, mixtures):
        large = Image(rows=224, columns=224)
        datasets = {
            "a": stored({1: 4000}, large, Label(("x",)), name="a"),
            "b": stored({10: 1000, 250: 200}, large, Text(max_length=256), name="b"),
        }
        mixture = TrainingMixture("ab", datasets, HParams(mixture_unit="tokens"))
        assert mixture.rows["a"].tokens == 20 * 196
        assert mixture.rows["a"].batches == 200
        # 50 batches of captions, 13 of them (12.5) with captions of more than 196 tokens.
        assert mixture.rows["b"].tokens == pytest.approx((1000 * 196 + 200 * 250) / (50 + 13))
        rates = mixture.rates
        assert rates["a"] * mixture.rows["a"].tokens == pytest.approx(rates["b"] * mixture.rows["b"].tokens)


class TestTable:
    HPARAMS = HParams(batch_tokens=80, batch_max_examples=1000, mixture="proportional")

    def test_has_examples_rates_epochs_and_tokens(self, mixtures):
        # 100 examples of 8 positions in batches of 10; 300 of 17 in batches of 4 whose examples are padded to 18.
        datasets = {"a": stored({8: 100}, name="a"), "b": stored({17: 300}, name="b")}
        lines = TrainingMixture("ab", datasets, self.HPARAMS).table(80).splitlines()
        assert [line.split() for line in lines] == [
            ["problem", "examples", "rate", "epochs", "tokens", "a", "batch"],
            ["a", "100", "25.0%", "2.00", "80"],  # 20 steps, 10 batches an epoch
            ["b", "300", "75.0%", "0.80", "68"],  # 60 steps, 75 batches an epoch
        ]
        assert len({len(line) for line in lines}) == 1

    def test_without_train_steps_it_has_no_epochs(self, datasets):
        heading, *_ = TrainingMixture("abc", datasets, self.HPARAMS).table().splitlines()
        assert "epochs" not in heading and "tokens a batch" in heading

    def test_is_saved(self, datasets, tmp_path):
        TrainingMixture("abc", datasets, self.HPARAMS).save(tmp_path, 210)
        saved = json.loads((tmp_path / "mixture.json").read_text())
        assert (saved["mixture"], saved["unit"], saved["train_steps"]) == ("proportional", "steps", 210)
        assert saved["problems"]["b"] == pytest.approx(
            {"examples": 400, "rate": 4 / 21, "batches": 40, "tokens": 80.0, "epochs": 1.0}
        )
        assert [path.name for path in tmp_path.iterdir()] == ["mixture.json"]


class TestAdaptive:
    def train(self, sampler, losses, first, steps):
        """Samples steps and reports their losses; returns the problems sampled."""
        drawn = []
        for step in range(first, first + steps):
            drawn.append(sampler(step))
            sampler.update(drawn[-1], losses[drawn[-1]])
        return drawn

    def test_the_hparam_chooses_it(self):
        assert type(make_sampler(HParams(mixture="adaptive"), RATES)) is AdaptiveSampler
        assert type(make_sampler(HParams(), RATES)) is ProblemSampler

    def test_favours_the_problem_with_the_higher_loss(self):
        sampler = AdaptiveSampler({"ahead": 0.5, "behind": 0.5}, 0)
        losses = {"ahead": 1.0, "behind": 2.5}
        self.train(sampler, losses, 0, 400)
        drawn = collections.Counter(self.train(sampler, losses, 400, 2000))
        assert drawn["behind"] / 2000 == pytest.approx(1 / (1 + math.exp(-1.5)), abs=0.03)  # 82%
        losses["behind"] = 1.0
        self.train(sampler, losses, 2400, 200)
        drawn = collections.Counter(self.train(sampler, losses, 2600, 1000))
        assert drawn["behind"] / 1000 == pytest.approx(0.5, abs=0.05)

    def test_registered_rates_are_factors(self):
        sampler = AdaptiveSampler({"a": 0.75, "b": 0.25}, 0)
        self.train(sampler, {"a": 3.0, "b": 3.0}, 0, 500)
        assert sampler.rates["a"] == pytest.approx(0.75, abs=0.01)

    def test_rates_are_the_softmax_of_moving_losses(self):
        sampler = AdaptiveSampler({"a": 0.5, "b": 0.5}, 0)
        assert sampler.rates == {"a": 0.5, "b": 0.5}
        sampler.update("a", 95.0)
        a = 0.9 * 100 + 0.1 * 95
        assert sampler.rates["a"] == pytest.approx(math.exp(a) / (math.exp(a) + math.exp(100)))

    def test_alternates_between_all_problems_at_the_start(self):
        sampler = AdaptiveSampler(dict.fromkeys("abcdefgh", 1 / 8), 5)
        drawn = self.train(sampler, dict.fromkeys("abcdefgh", 4.0), 0, 40)
        assert set(collections.Counter(drawn).values()) == {5}

    def test_a_loss_that_is_not_finite_changes_counts_alone(self):
        sampler = AdaptiveSampler({"a": 0.5, "b": 0.5}, 0)
        sampler.update("a", 3.0)
        before = dict(sampler.rates)
        sampler.update("b", math.nan)
        sampler.update("b", math.inf)
        assert sampler.rates == before
        assert sampler.counts(3) == {"a": 1, "b": 2}

    def test_a_restored_one_equals_one_never_stopped(self):
        losses = {"large": 1.1, "small": 2.3, "rare": 3.7}
        unbroken, stopped = AdaptiveSampler(RATES, 9), AdaptiveSampler(RATES, 9)
        expected = self.train(unbroken, losses, 0, 300)
        begun = self.train(stopped, losses, 0, 150)
        state = json.loads(json.dumps(stopped.state()))
        assert len(json.dumps(state)) < 1000
        resumed = AdaptiveSampler(RATES, 9)
        resumed.restore(state)
        assert resumed.counts(150) == {name: begun.count(name) for name in RATES}
        assert begun + self.train(resumed, losses, 150, 150) == expected
        assert resumed.state() == unbroken.state()

    def test_without_its_state_it_cannot_resume(self):
        sampler = AdaptiveSampler(RATES, 0)
        assert sampler.counts(0) == dict.fromkeys(RATES, 0)
        sampler.restore({})
        with pytest.raises(UserError, match="checkpoint of step 7 does not hold the moving losses"):
            sampler.counts(7)


class TestBatchMultipliers:
    def test_change_the_batch_size_of_one_problem(self):
        texts = Text(max_length=20)
        hparams = HParams(batch_tokens=64, batch_max_examples=4, batch_multipliers="big:2,small:0.5,none:0.01")
        sizes = {
            name: lengths.batch_sizes(problem(name, texts, texts), hparams)
            for name in ("plain", "big", "small", "none")
        }
        assert {name: {boundary: found[boundary] for boundary in (8, 16, 20)} for name, found in sizes.items()} == {
            "plain": {8: 4, 16: 4, 20: 3},
            "big": {8: 8, 16: 8, 20: 6},
            "small": {8: 2, 16: 2, 20: 1},
            "none": {8: 1, 16: 1, 20: 1},
        }

    def test_change_the_batches_read_and_how_many_are_skipped(self, session_data, session_problems):
        dataset = Dataset.open(session_data, "session_reverse")
        hparams = session_problems.session_tiny().replace(batch_multipliers="session_reverse:0.5")
        read = {"shuffle": True, "repeat": True}
        batches = list(dataset.batches("train", hparams, **read).take(160).as_numpy_iterator())
        assert 48 < max(batch["targets"].size for batch in batches) <= 64  # 128 without
        (after,) = dataset.batches("train", hparams, skip=100, **read).take(1).as_numpy_iterator()
        assert (after["inputs"] == batches[100]["inputs"]).all()

    def test_an_unknown_name_suggests_the_nearest(self, datasets):
        with pytest.raises(UserError, match="batch_multipliers: 'd' is not trained here"):
            TrainingMixture("abc", datasets, HParams(batch_multipliers="d:2"))


def test_dry_run_prints_the_table(session_data, session_problems, tmp_path, capsys):
    flags = ["--problem=session", "--hparams_set=session_tiny", f"--data_dir={session_data}", "--dry_run"]
    usr_dir = f"--t2t_usr_dir={session_problems.__file__.rpartition('/')[0]}"
    hparams = "--hparams=mixture=adaptive,mixture_rates=session_tones:2,batch_multipliers=session_reverse:0.5"
    assert trainer.main([*flags, usr_dir, hparams, "--train_steps=300"]) == 0
    _, _, table = capsys.readouterr().out.partition("\nmixture\n")
    rows = [line.split() for line in table.splitlines()]
    assert rows[0] == ["problem", "examples", "rate", "epochs", "tokens", "a", "batch"]
    assert rows[1][:4] == ["session_reverse", "600", "25.0%", "1.00"]  # 75 steps, 75 batches an epoch
    assert rows[3][:3] == ["session_tones", "600", "50.0%"]
    assert "adaptive" in table.splitlines()[-1]
    wrong = "--hparams=mixture_rates=session_tone:2"
    assert trainer.main([*flags, usr_dir, wrong]) == 1
    assert "'session_tone' is not trained here; did you mean 'session_tones'" in capsys.readouterr().err
