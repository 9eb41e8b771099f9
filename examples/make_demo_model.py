"""Makes the packaged demo model, t2t_lite/demo_model/, of a run on microworld: an export with int8 weights.

    make demo
    python examples/make_demo_model.py demo/run --data_dir=demo/data

First evaluates the run on the whole dev splits, for the figures in the model card. `t2t-server --demo` serves it."""

import argparse
from pathlib import Path

import t2t_lite
from t2t_lite.api.arguments import search_settings
from t2t_lite.evaluation.curve import EvaluationCurve
from t2t_lite.hparams.fields import parse_fields
from t2t_lite.serving.model_card import BEGIN, CARD

FOLDER = Path(t2t_lite.__file__).parent / "demo_model"
OWN_TEXT = """The demo model of t2t_lite: `t2t-server --demo`, `t2t-decoder --demo --problem=microworld_ende`.
It was made by

```
t2t-datagen --problem=microworld --data_dir={data}
t2t-trainer --problem=microworld --hparams_set={hparams_set} --data_dir={data} --output_dir={run} --train_steps={step}
python examples/make_demo_model.py {run} --data_dir={data}
```

"""


def main() -> None:
    """Evaluates, exports and completes the card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="the folder of the run")
    parser.add_argument("--data_dir", type=Path, required=True, help="the folder of its data")
    parser.add_argument("--checkpoint", default="latest", help="latest, best or a step")
    parser.add_argument("--decode_hparams", default="beam_size=4,return_beams=3", help="the search of the export")
    parser.add_argument("--hparams_set", default="multimodel_tiny", help="the set, for the command in the card")
    parser.add_argument("--export_dir", type=Path, default=FOLDER, help="where the model goes")
    flags = parser.parse_args()
    try:
        make(flags)
    except t2t_lite.UserError as e:
        raise SystemExit(f"make_demo_model.py: error: {e}") from e


def make(flags: argparse.Namespace) -> None:
    """Makes the model."""
    search = parse_fields(t2t_lite.api.DecodeHParams, flags.decode_hparams, "--decode_hparams")
    run = t2t_lite.open_run(flags.run, checkpoint=flags.checkpoint)
    scores = run.evaluate(data_dir=flags.data_dir)
    print(t2t_lite.api.report(scores))
    settings = {"split": "dev", "eval_steps": None, "search": search_settings({}).changing_answers()}
    EvaluationCurve(flags.run / "eval_curve.jsonl", settings).add(run.step, scores["problems"])
    run.export(flags.export_dir, data_dir=flags.data_dir, weights="int8", **search)
    path = flags.export_dir / CARD
    card = path.read_text(encoding="utf8")
    if card.startswith(BEGIN):
        names = {"data": flags.data_dir, "run": flags.run, "step": run.step, "hparams_set": flags.hparams_set}
        path.write_text(OWN_TEXT.format(**names) + card, encoding="utf8")


if __name__ == "__main__":
    main()
