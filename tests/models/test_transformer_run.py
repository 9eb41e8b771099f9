"""A run of a Transformer: warm start from a MultiModel, freezing, training, decoding, export, --dry_run, mistakes."""

import numpy as np
import pytest
from checks import random_run
from conftest import USR_SESSION

import t2t_lite
from t2t_lite.bin import trainer
from t2t_lite.decoding.decode_hparams import DecodeHParams
from t2t_lite.hparams.transformers import UNREAD
from t2t_lite.runs.checkpoints import Checkpoints
from t2t_lite.runs.run import Run
from t2t_lite.serving.export import export_run
from t2t_lite.serving.model import ExportedModel

NAMES = ["session_reverse", "session_pictures"]


@pytest.fixture(scope="module")
def hparams(session_problems):
    return session_problems.session_tiny().replace(**UNREAD, filter_size=40)


def weights(folder):
    """{name: value} of the last checkpoint of a run, without the model's own name."""
    model = Run.open(folder).build_model()
    Checkpoints(folder, model).restore_weights(None)
    return {weight.path.removeprefix(f"{model.name}/"): weight.numpy() for weight in model.weights}


@pytest.fixture(scope="module")
def folders(session_data, session_problems, hparams, tmp_path_factory):
    """A run of a MultiModel with random weights, and one of a Transformer that began with them."""
    folder = tmp_path_factory.mktemp("transformer")
    old = random_run(folder / "old", session_data, session_problems.session_tiny(), NAMES)
    settings = {"hparams": hparams, "model": "transformer", "train_steps": 2, "eval_steps": 1}
    t2t_lite.train(NAMES, session_data, folder / "new", **settings, warm_start_from=old, freeze=["language"])
    return old, folder / "new"


def test_begins_with_the_nets_of_a_multi_model_and_leaves_frozen_parts(folders):
    before, after = map(weights, folders)
    shared = {name for name in after if name in before and name != "commands"}
    assert {name.split("/")[0].split(".")[0] for name in shared} >= {"language_session", "image"}
    frozen = {name for name in shared if name.startswith("language")}
    assert frozen and all(np.array_equal(before[name], after[name]) for name in frozen)
    image = [name for name in shared if name.startswith("image") and "pointwise" in name]
    for name in image:  # copied, then trained for a step or two
        assert np.corrcoef(before[name].ravel(), after[name].ravel())[0, 1] > 0.9
    assert any(name.startswith("body.encoder.block0.self_attention") for name in after)


def test_an_export_answers_as_the_run(folders, tmp_path):
    _, folder = folders
    export_run(NAMES, folder, tmp_path / "export", decode_hparams=DecodeHParams.parse("beam_size=2,max_length=4"))
    exported, run = ExportedModel(tmp_path / "export"), t2t_lite.open_run(folder)
    assert exported.name == "transformer" and "session_reverse/attention" in exported.signatures
    texts = ["a b c", "d d", "b"]
    found = exported.predict("session_reverse", {"inputs": [text.encode() for text in texts]})
    expected = run.answer("session_reverse", texts, beam_size=2, max_length=4)
    assert [row[0].decode() for row in found["outputs"]] == [answer.text for answer in expected]
    np.testing.assert_allclose(found["scores"][:, 0], [answer.score for answer in expected], atol=1e-4)
    inside = run.look_inside("session_reverse", "a b c", "c b a")
    assert inside.experts == {}
    np.testing.assert_allclose(inside.attention.sum(-1), 1.0, atol=1e-3)


@pytest.fixture
def train(session_data, tmp_path, capsys):
    """Calls t2t-trainer; returns its status, stdout and the last line of standard error."""

    def train(*flags):
        shared = [f"--t2t_usr_dir={USR_SESSION}", f"--data_dir={session_data}", "--problem=session_reverse"]
        status = trainer.main([*shared, f"--output_dir={tmp_path}/run", "--train_steps=1", "--eval_steps=1", *flags])
        printed = capsys.readouterr()
        return status, printed.out, (printed.err.splitlines() or [""])[-1]

    return train


@pytest.mark.usefixtures("session_problems")
def test_dry_run_counts_its_parts(train):
    status, printed, _ = train("--dry_run", "--model=transformer", "--hparams_set=transformer_tiny")
    assert status == 0
    parts = printed.partition("forward FLOPs")[0]
    assert "encoder" in parts and "decoder" in parts and "mixer" not in parts and "experts" not in parts
    assert "16 GB: fits" in printed


@pytest.mark.usefixtures("session_problems")
@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--hparams_set=transformer_base"],
            "--hparams_set=transformer_base is for --model=transformer, not for multi_",
        ),
        (["--model=transformer", "--hparams_set=session_tiny"], "does not read the hparams use_experts=True, mixer_bl"),
        (
            ["--model=transformer", "--hparams_set=transformer_tiny", "--hparams=num_experts=8"],
            "--model=transformer: this model does not read the hparams num_experts=8; leave them out",
        ),
        (["--model=tranformer", "--hparams_set=transformer_tiny"], "did you mean 'transformer'"),
    ],
)
def test_mistakes_are_one_line(train, flags, message):
    status, _, line = train(*flags)
    assert status == 1 and message in line
