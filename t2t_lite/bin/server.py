"""Serves an exported model over HTTP: TensorFlow Serving's REST format, and a web page to try it.

    t2t-server --demo
    t2t-server --export_dir=export
    curl -d '{"signature_name": "microworld_ende", "instances": ["the cat sleeps"]}' \\
        http://127.0.0.1:8501/v1/models/multi_model:predict

Open http://127.0.0.1:8501/ for the page."""

import math
import sys
from collections.abc import Sequence

from absl import flags as absl_flags
from absl.flags import FlagValues

from t2t_lite import api
from t2t_lite.bin import command
from t2t_lite.quiet import import_tensorflow


def define(flags: FlagValues) -> None:
    """Defines the command's flags."""
    command.define_shared(flags)
    string, integer, number = absl_flags.DEFINE_string, absl_flags.DEFINE_integer, absl_flags.DEFINE_float
    string("export_dir", None, "Folder that t2t-exporter wrote.", flag_values=flags)
    demo = "Serve the packaged demo model, which learned microworld's eight problems."
    absl_flags.DEFINE_bool("demo", False, demo, flag_values=flags)
    string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 accepts other machines.", flag_values=flags)
    integer("port", 8501, "Port to listen on; 0: any free port.", 0, 65535, flag_values=flags)
    integer("max_batch", 32, "Inputs in a batch at most.", 1, flag_values=flags)
    number("batch_wait_ms", 3, "Milliseconds that an input waits for others to share its batch.", 0, flag_values=flags)
    integer("threads", 2, "Batches computed at once.", 1, flag_values=flags)
    integer(
        "max_queue", 256, "Inputs waiting or being computed at most; requests beyond get 429.", 1, flag_values=flags
    )
    integer("max_instances", 64, "Inputs in one request at most.", 1, flag_values=flags)
    number("max_body_mb", 8, "MiB of a request at most.", 0.001, flag_values=flags)
    integer("max_characters", 2000, "Characters of a text at most.", 1, flag_values=flags)
    integer("max_pixels", 16_000_000, "Pixels of a picture at most.", 1, flag_values=flags)
    number("max_sound_seconds", 60, "Seconds of a sound at most.", 0.1, flag_values=flags)
    number("time_limit", 30, "Seconds to an answer; a request that takes longer gets 504.", 0.1, flag_values=flags)


def body(flags: FlagValues) -> None:
    """Serves until a signal stops it."""
    if flags.demo and flags.export_dir:
        raise command.FlagError("give one of --demo, --export_dir")
    if not flags.demo:
        command.require(flags, "export_dir")
    for name in ("batch_wait_ms", "max_body_mb", "max_sound_seconds", "time_limit"):
        if not math.isfinite(flags[name].value):
            raise command.FlagError(f"--{name}={flags[name].value}: expected a finite number")
    folder = api.demo_dir() if flags.demo else command.existing_folder(flags, "export_dir", "t2t-exporter makes it")
    import_tensorflow()
    from t2t_lite.serving import server
    from t2t_lite.serving.batching import BatchPlan
    from t2t_lite.serving.limits import Limits

    limits = Limits(
        body_bytes=int(flags.max_body_mb * 2**20),
        instances=flags.max_instances,
        text_characters=flags.max_characters,
        pixels=flags.max_pixels,
        sound_seconds=flags.max_sound_seconds,
        answer_seconds=flags.time_limit,
        queue=flags.max_queue,
    )
    plan = BatchPlan(rows=flags.max_batch, wait_seconds=flags.batch_wait_ms / 1000, threads=flags.threads)
    server.serve(folder, server.Address(flags.host, flags.port), limits, plan)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    return command.run("t2t-server", __doc__, define, body, argv)


if __name__ == "__main__":
    sys.exit(main())
