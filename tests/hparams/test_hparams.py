"""HParams, their overrides, and gin."""

import dataclasses

import pytest

from t2t_lite import registry
from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams, gin_config, override


def test_override_converts_by_type():
    hparams = override(HParams(), " hidden_size=64, dropout=0.1,use_experts=False,schedule=cosine,clip_norm=2 ,")
    assert (hparams.hidden_size, hparams.dropout, hparams.use_experts) == (64, 0.1, False)
    assert (hparams.schedule, hparams.clip_norm) == ("cosine", 2.0)
    assert isinstance(hparams.clip_norm, float)
    assert hparams.filter_size == HParams().filter_size


def test_override_accepts_values_with_commas():
    assert override(HParams(), "freeze=encoder, image,seed=2") == HParams(freeze="encoder,image", seed=2)
    with pytest.raises(UserError, match="no hparam 'freez'; did you mean 'freeze'"):
        override(HParams(), "freez=encoder,image")
    with pytest.raises(UserError, match="'image' is not of the form name=value"):
        override(HParams(), "seed=1,image")
    hparams = override(HParams(), "seed=1, loss_weights=a:2, b.c:0.5,dropout=0.1")
    assert (hparams.seed, hparams.loss_weights, hparams.dropout) == (1, "a:2,b.c:0.5", 0.1)
    assert [hparams.loss_weight(name) for name in ("a", "b.c", "d")] == [2.0, 0.5, 1.0]
    with pytest.raises(UserError, match="'b:2' is not of the form name=value"):
        override(HParams(), "b:2,seed=1")


def test_loss_weights_of_problems_not_trained_are_errors():
    hparams = HParams(loss_weights="reverse:2,pictures:0.5")
    hparams.check_names("loss_weights", ["pictures", "reverse", "tones"])
    with pytest.raises(UserError, match="'reverse' is not trained here; did you mean 'reverses'"):
        hparams.check_names("loss_weights", ["pictures", "reverses"])


def test_the_last_of_two_overrides_counts():
    assert override(HParams(), "seed=1,seed=2").seed == 2
    assert override(HParams(), "") == HParams()


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ("hiden_size=64", "--hparams: no hparam 'hiden_size'; did you mean 'hidden_size'"),
        ("hidden_size", "--hparams: 'hidden_size' is not of the form name=value"),
        ("hidden_size=big", "hidden_size=big: expected a whole number"),
        ("hidden_size=64.5", "hidden_size=64.5: expected a whole number"),
        ("dropout=nan", "dropout=nan: expected a number"),
        ("use_experts=1", "use_experts=1: expected true or false"),
        ("schedule=cosin", "schedule is 'cosin', expected one of noam, rsqrt, cosine, linear, constant"),
        ("hidden_size=66", "hidden_size=66 must be a multiple of num_heads=8"),
        ("hidden_size=9,num_heads=3", "hidden_size=9 must be even"),
        ("num_heads=0", "num_heads=0 must be at least 1"),
        ("learning_rate=-1", "learning_rate=-1.0 must be at least 0"),
        ("dropout=1", "dropout=1.0 must be at least 0 and below 1"),
        ("adam_beta2=1.5", "adam_beta2=1.5 must be at least 0 and below 1"),
        ("num_experts=2", "experts_per_position=4 must be 1 to num_experts=2"),
        ("hidden_size=9223372036854775808", "hidden_size=9223372036854775808 must be at most 65,536"),
        ("hidden_size=-8", "hidden_size=-8 must be at least 2"),
        ("hidden_size=0", "hidden_size=0 must be at least 2"),
        ("num_experts=10000000000", "num_experts=10000000000 must be at most 131,072"),
        ("num_experts=0", "num_experts=0 must be at least 1"),
        ("experts_per_position=0", "experts_per_position=0 must be at least 1"),
        ("filter_size=1e9", "filter_size=1e9: expected a whole number"),
        ("encoder_blocks=1001", "encoder_blocks=1001 must be at most 1,000"),
        ("audio_blocks=17", "audio_blocks=17 must be at most 16"),
        ("audio_time_masks=2", "audio_time_masks=2 and audio_time_mask_frames=0 belong together"),
        ("audio_frequency_mask_bins=9", "audio_frequency_masks=0 and audio_frequency_mask_bins=9 belong together"),
        (
            "audio_frequency_masks=1,audio_frequency_mask_bins=80",
            "audio_frequency_mask_bins=80 must be below audio_mels=80",
        ),
        (
            "audio_time_masks=1,audio_time_mask_frames=9,audio_form=waveform",
            "audio_time_masks=1 needs audio_form=spectrogram, not waveform",
        ),
        ("image_strides=5", "image_strides=5 must be at most 4"),
        ("batch_tokens=2147483648", "batch_tokens=2147483648 must be at most 2,147,483,647"),
        ("seed=2147483648", "seed=2147483648 must be at most 2,147,483,647"),
        ("learning_rate=1e39", "learning_rate=1e+39 must be at most 1,000,000,000"),
        ("loss_weights=a:1e39", "the weight a number from 0 to 1e+09"),
        ("mixture_rates=a:1e308", "the weight a number from 0 to 1e+09"),
    ],
)
def test_wrong_overrides_are_errors(overrides, message):
    with pytest.raises(UserError) as e:
        override(HParams(), overrides)
    assert message in str(e.value)


def test_replace_refuses_wrong_types():
    assert HParams().replace(dropout=0).dropout == 0
    with pytest.raises(UserError, match="hidden_size=None: expected a whole number"):
        HParams().replace(hidden_size=None)
    with pytest.raises(UserError, match="seed=True: expected a whole number"):
        HParams().replace(seed=True)


def test_the_constructor_checks_values():
    assert HParams(dropout="0.1").dropout == 0.1
    with pytest.raises(UserError, match=r"hidden_size=64\.5: expected a whole number"):
        HParams(hidden_size=64.5)
    for name in ("seed", "decay_steps", "audio_frame_ms", "audio_mels", "audio_width"):
        with pytest.raises(UserError, match=f"{name}=-1"):
            HParams(**{name: -1})


def test_every_bound_has_a_field_and_every_set_is_valid():
    from t2t_lite.hparams import hparams

    names = {f.name for f in dataclasses.fields(HParams)}
    bounded = {*hparams._RANGES, *hparams._BELOW_ONE}
    assert bounded | set(hparams._CHOICES) <= names
    assert bounded == {name for name, value in vars(HParams()).items() if type(value) in (int, float)}
    for name in registry.hparams_sets.describe():
        assert isinstance(registry.hparams_sets.get(name)(), HParams)


def test_save_and_load(tmp_path):
    hparams = HParams(hidden_size=64, schedule="linear")
    hparams.save(tmp_path / "hparams.json")
    assert HParams.load(tmp_path / "hparams.json") == hparams


@pytest.mark.parametrize("text", ["", "[1]", "{", '{"hidden_sice": 4}', '{"hidden_size": "x"}'])
def test_load_names_a_wrong_file(tmp_path, text):
    path = tmp_path / "hparams.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"hparams\.json"):
        HParams.load(path)


def test_load_of_a_missing_file(tmp_path):
    with pytest.raises(UserError, match=r"none\.json"):
        HParams.load(tmp_path / "none.json")


def _file(folder, text, name="my.gin"):
    path = folder / name
    path.write_text(text)
    return str(path)


def test_order_is_set_then_files_then_params_then_hparams(tmp_path):
    first = _file(
        tmp_path, "hparams.seed = 1\nhparams.hidden_size = 16\nhparams.dropout = 0.1\nhparams.clip_norm = 5\n"
    )
    second = _file(tmp_path, "D = 32\nhparams.hidden_size = %D\nhparams.dropout = 0.2\n", "second.gin")
    start = HParams(filter_size=99, seed=7)
    hparams = gin_config.resolve(start, [first, second], ["hparams.dropout = 0.3", "hparams.seed=3"], "seed=4")
    assert (hparams.filter_size, hparams.hidden_size, hparams.dropout, hparams.seed) == (99, 32, 0.3, 4)
    assert hparams.clip_norm == 5.0


def test_only_the_result_of_all_changes_must_be_valid():
    # num_experts=2 alone would be wrong: the default experts_per_position is 4.
    assert gin_config.resolve(HParams(), [], ["hparams.num_experts=2"], "experts_per_position=1").num_experts == 2


def test_a_call_forgets_the_bindings_of_the_one_before(tmp_path):
    gin_config.resolve(HParams(), [_file(tmp_path, "D = 32\nhparams.hidden_size = %D\n")], ["hparams.seed=3"], "")
    assert gin_config.resolve(HParams(), [], [], "") == HParams()
    with pytest.raises(UserError, match="macro %D is not defined"):
        gin_config.resolve(HParams(), [], ["hparams.hidden_size = %D"], "")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("\nhparams.hiden_size = 4\n", "line 2: no hparam 'hiden_size'; did you mean 'hidden_size'"),
        ("hparams.hidden_size = 'x'\n", "hidden_size=x: expected a whole number"),
        ("hparams.hidden_size = 1 2\n", "line 1: hparams.hidden_size = 1 2: Expected newline"),
        ("hparms.hidden_size = 64\n", "line 1: No configurable matching 'hparms'. Hparams are set as hparams.NAME"),
        ("hidden_size = 64\n", "'hidden_size' is a macro here that sets nothing; write hparams.hidden_size"),
        ("hparams.hidden_size = %D\n", "macro %D is not defined"),
        ("hparams.hidden_size = @f()\n", "No configurable matching reference '@f()'"),
        ("import no_such_module\n", "line 1: ModuleNotFoundError: No module named 'no_such_module'"),
        ("include 'none.gin'\n", "none.gin"),
    ],
)
def test_a_wrong_gin_file_is_an_error_in_one_line(tmp_path, text, message, caplog):
    with pytest.raises(UserError) as e:
        gin_config.resolve(HParams(), [_file(tmp_path, text)], [], "")
    assert message in str(e.value) and "my.gin" in str(e.value)
    assert "\n" not in str(e.value)
    assert not caplog.records


def test_a_missing_gin_file_and_a_wrong_binding():
    with pytest.raises(UserError, match=r"--gin_file: no file 'none\.gin'"):
        gin_config.resolve(HParams(), ["none.gin"], [], "")
    with pytest.raises(UserError, match=r"--gin_param 'hparams\.sed=1': line 1: no hparam 'sed'; did you mean 'seed'"):
        gin_config.resolve(HParams(), [], ["hparams.sed=1"], "")


def test_the_operative_config_sets_the_same_hparams(tmp_path):
    hparams = gin_config.resolve(HParams(), [], ["hparams.hidden_size=64"], "schedule=linear,adam_epsilon=1e-7")
    file = _file(tmp_path, gin_config.operative_config(hparams))
    assert gin_config.resolve(HParams(num_experts=9), [file], [], "") == hparams


def test_the_operative_config_has_other_gin_bindings(tmp_path):
    import gin

    @gin.configurable("rate_of_the_test", module="tests")
    def rate(value=0.5):
        return value

    hparams = gin_config.resolve(HParams(), [], ["rate_of_the_test.value=0.25"], "")
    assert rate() == 0.25
    assert "rate_of_the_test.value = 0.25" in gin_config.operative_config(hparams)
