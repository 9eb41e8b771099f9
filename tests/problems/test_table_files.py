"""table_files: tables of all formats, guessed kinds, wrong tables; and --held_out."""

import io
import json
import re
import tarfile

import numpy as np
import pytest
import soundfile
from PIL import Image as PilImage

from t2t_lite.bin import datagen
from t2t_lite.data.manifest import Manifest
from t2t_lite.data.records import parse, read_records
from t2t_lite.data.vocabulary import Vocabulary, vocabulary_path
from t2t_lite.datagen.generate import generate
from t2t_lite.errors import UserError
from t2t_lite.problems import Audio, Image, Label, Text
from t2t_lite.problems.held_out import split_items
from t2t_lite.problems.problem import get_problem
from t2t_lite.problems.tables import column_names, read_rows

ROWS = [{"question": f"what is {i}?", "answer": f"number {i}"} for i in range(6)]
SENTIMENT = [{"text": f"film {i}", "label": ("bad", "good")[i % 2], "id": i} for i in range(12)]


def jsonl(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def table(rows, separator=","):
    return "\n".join(separator.join(map(str, row)) for row in [rows[0], *(row.values() for row in rows)]) + "\n"


def write(folder, **files):
    """Writes train_csv=... as train.csv."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name.replace("_", ".", 1)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


def resolved(folder, columns=None):
    problem = get_problem("table_files.mine")
    problem.requested = columns or {}
    problem.resolve(folder)
    return problem


def examples(folder, split="train", columns=None):
    found = list(resolved(folder, columns).examples(split, folder))
    return [(each["inputs"], each["targets"]) if isinstance(each, dict) else str(each) for each in found]


def picture(value=0, kind="PNG"):
    content = io.BytesIO()
    PilImage.new("RGB", (8, 6), (value, 20, 30)).save(content, kind)
    return content.getvalue()


def sound(value=0.5):
    content = io.BytesIO()
    soundfile.write(content, np.full(800, value, np.float32), 8000, format="WAV")
    return content.getvalue()


PAIRS = [(row["question"], row["answer"]) for row in ROWS]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train_jsonl", jsonl(ROWS)),
        ("train_ndjson", "\ufeff" + jsonl(ROWS).replace("\n", "\r\n\r\n")),
        ("train_json", json.dumps(ROWS, indent=1)),
        ("train_csv", table(ROWS)),
        ("train_csv", table(ROWS, ";")),
        ("train_tsv", table(ROWS, "\t")),
    ],
)
def test_text_tables(tmp_path, name, content):
    assert examples(write(tmp_path, **{name: content})) == PAIRS


def arrow_bytes(rows, write_file=False, **schema):
    pyarrow = pytest.importorskip("pyarrow")
    values = pyarrow.Table.from_pylist(rows)
    if schema:
        values = values.replace_schema_metadata({k: json.dumps(v) for k, v in schema.items()})
    content = io.BytesIO()
    make = pyarrow.ipc.new_file if write_file else pyarrow.ipc.new_stream
    with make(content, values.schema) as writer:
        writer.write_table(values, max_chunksize=4)
    return content.getvalue()


def parquet_bytes(rows):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")

    content = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(rows), content)
    return content.getvalue()


def test_parquet_and_arrow(tmp_path):
    write(tmp_path / "a", **{"train-00000-of-00002_parquet": parquet_bytes(ROWS[:4])})
    write(tmp_path / "a", **{"train-00001-of-00002_parquet": parquet_bytes(ROWS[4:])})
    assert examples(tmp_path / "a") == PAIRS
    assert examples(write(tmp_path / "b", train_arrow=arrow_bytes(ROWS, write_file=True))) == PAIRS
    where = [row[0] for row in read_rows(tmp_path / "a" / "train-00001-of-00002.parquet")]
    assert where[1].endswith("train-00001-of-00002.parquet, row 2")


FEATURES = {
    "info": {"features": {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}, "image": {"_type": "Image"}}}
}


def test_hugging_face_datasets_saved_by_save_to_disk_and_in_the_cache(tmp_path):
    """Their layout, written with pyarrow: folders of splits, or NAME-train.arrow; classes are numbers with names."""
    rows = [{"image": {"bytes": picture(i), "path": None}, "label": i % 2} for i in range(8)]
    content = arrow_bytes(rows, huggingface=FEATURES)
    saved, cache = tmp_path / "saved", tmp_path / "cache"
    for split in ("train", "validation", "test"):
        folder = write(saved / split, **{"data-00000-of-00001_arrow": content, "state_json": "{}"})
        write(folder, dataset_info_json="{}", **{"cache-1f_arrow": b"no data"})
        write(cache, **{f"pets-{split}_arrow": content})
    write(saved, dataset_dict_json="{}")
    write(cache, dataset_info_json="{}")
    write(tmp_path / "single", **{"data-00000-of-00001_arrow": content, "state_json": "{}"})
    for folder in (saved, cache, tmp_path / "single"):
        problem = resolved(folder)
        assert isinstance(problem.inputs, Image)
        assert isinstance(problem.targets, Label)
        assert examples(folder) == [(picture(i), ("cat", "dog")[i % 2]) for i in range(8)]
        assert problem.has_dev(folder) == (folder != tmp_path / "single")
    assert len(examples(saved, "dev")) == 8


def tar(path, members):
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def test_webdataset_shards(tmp_path):
    for shard in range(2):
        members = {}
        for i in range(2 * shard, 2 * shard + 2):
            members |= {f"a/{i:03}.jpg": picture(i, "JPEG"), f"a/{i:03}.txt": f"number {i}\n".encode()}
            members |= {f"a/{i:03}.json": json.dumps({"size": i}).encode(), f"a/._{i:03}.jpg": b""}
        tar(tmp_path / f"train-{shard:06}.tar", members)
    columns = {"inputs": {"column": "jpg"}, "targets": {"column": "txt"}}
    assert examples(tmp_path, columns=columns) == [(picture(i, "JPEG"), f"number {i}") for i in range(4)]
    assert column_names(tmp_path / "train-000000.tar") == ["jpg", "txt", "json.size"]
    problem = resolved(tmp_path, columns)
    assert (type(problem.inputs), problem.metrics, problem.command) == (Image, ("bleu", "cider_d"), "answer")
    lone = tar(
        tmp_path / "lone" / "train.tar", {"b/1.wav": sound(), "b/1.txt": b"yes", "b/2.wav": sound(), "x.md": b""}
    )
    assert examples(lone.parent)[1:] == [f"{lone}, b/2: no member .txt beside .wav"]
    lone.write_bytes(lone.read_bytes()[:3000])
    with pytest.raises(UserError, match=r"train.tar: cut off within a block of 512 bytes"):
        examples(lone.parent)


class TestGuess:
    def test_classes_text_pictures_and_sounds(self, tmp_path):
        write(tmp_path, train_jsonl=jsonl(SENTIMENT))
        problem = resolved(tmp_path)
        assert (problem.columns["inputs"].name, problem.columns["targets"].name) == ("text", "label")
        assert isinstance(problem.targets, Label)
        assert (problem.command, problem.metrics) == ("classify", ())
        write(tmp_path / "b", train_csv="file,class\n" + "a.wav,1\nb.wav,0\n" * 4, a_wav=sound(), b_wav=sound())
        problem = resolved(tmp_path / "b")
        assert (type(problem.inputs), type(problem.targets)) == (Audio, Label)
        assert examples(tmp_path / "b")[:2] == [(tmp_path / "b" / "a.wav", "1"), (tmp_path / "b" / "b.wav", "0")]

    def test_numbers_booleans_and_objects_within_objects(self, tmp_path):
        rows = [{"q": {"text": f"t{i}", "n": i}, "a": {"ok": i % 2 == 0, "list": [f"x{i}", "y"]}} for i in range(8)]
        write(tmp_path, train_jsonl=jsonl(rows))
        columns = {"inputs": {"column": "q.text"}, "targets": {"column": "a.ok"}}
        assert examples(tmp_path, columns=columns)[:2] == [("t0", "true"), ("t1", "false")]
        columns["targets"] = {"column": "a.list.0"}
        assert examples(tmp_path, columns=columns)[1] == ("t1", "x1")
        columns = {"inputs": {"column": "q.n"}, "targets": {"column": "q.n"}}
        assert examples(tmp_path, columns=columns)[1] == ("1", "1")
        assert isinstance(resolved(tmp_path, columns).targets, Text)

    def test_a_named_kind_wins(self, tmp_path):
        write(tmp_path, train_jsonl=jsonl(SENTIMENT))
        columns = {"inputs": {"column": "text"}, "targets": {"column": "label", "kind": "text"}}
        assert isinstance(resolved(tmp_path, columns).targets, Text)
        columns = {"inputs": {"column": "text"}, "targets": {"column": "id", "kind": "class"}}
        assert isinstance(resolved(tmp_path, columns).targets, Label)

    def test_table_yaml(self, tmp_path):
        write(tmp_path / "data", train_csv="photo,kind,x\n" + "a.png,cat,1\na.png,dog,2\n", a_png=picture())
        yaml = "inputs: {column: photo, rows: 16, columns: 24}\ntargets: {column: kind, kind: class}\n"
        write(tmp_path / "raw", table_yaml=f"{yaml}command: name\nfolder: ../data\n")
        problem = resolved(tmp_path / "raw")
        assert problem.inputs == Image(rows=16, columns=24)
        assert problem.command == "name"
        assert len(list(problem.examples("train", tmp_path / "raw"))) == 2
        again = get_problem("table_files.mine")
        again.adopt(json.loads(json.dumps(problem.declaration())))
        assert again.declaration() == problem.declaration()
        assert "columns" not in get_problem("table_files.mine").declaration()


TWO = {"train_csv": "a,b\n1,2\n"}
WRONG_TABLES = [
    ({"train_csv": "a,b\n"}, None, r"train.csv: an empty table"),
    ({"train_jsonl": "\n"}, None, r"train.jsonl: an empty table"),
    ({"train_csv": "text,label,text\n1,2,3\n"}, None, r"train.csv:1: two columns are named 'text'; rename one"),
    ({"train_csv": "a,b,c\n1,2,3\n"}, None, r"columns a, b, c: name two of them: --columns=inputs:COLUMN,"),
    (
        {"train_csv": "questoin,answer\na,b\n"},
        {"inputs": {"column": "question"}},
        r"train.csv: no column 'question'; did you mean 'questoin'",
    ),
    (
        {"train_csv": table(ROWS), "train_jsonl": jsonl(ROWS)},
        None,
        r"split 'train' has tables of several formats, .*train.csv and .*train.jsonl",
    ),
    ({"one_csv": "a,b\n", "two_csv": "a,b\n"}, None, r"found one.csv, two.csv: expected train"),
    ({}, None, r"no table: expected train"),
    (
        {"train_jsonl": jsonl([{"text": "a", "label": [1]}])},
        None,
        r"train.jsonl:1: column 'label': holds a list; .*'label.0'",
    ),
    (
        {"train_jsonl": jsonl([{"text": "a", "label": 0.5}])},
        None,
        r"train.jsonl:1: column 'label': holds numbers with fractions",
    ),
    (
        {"train_jsonl": jsonl([{"text": "a", "label": "b.png"}])},
        None,
        r"column 'label': holds pictures; targets are text or classes",
    ),
    ({"train_jsonl": jsonl([{"text": "a", "label": ""}])}, None, r"train.jsonl:1: column 'label' is empty"),
    ({"train_parquet": b"PAR1"}, None, r"train.parquet: not a readable Parquet file"),
    ({"train_arrow": b"none"}, None, r"train.arrow: not a readable Arrow file"),
    (TWO | {"table_yaml": "input: a\n"}, None, r"table.yaml: unknown key 'input'; did you mean 'inputs'"),
    (TWO | {"table_yaml": "inputs: [a\n"}, None, r"table.yaml:2: not YAML"),
    (TWO | {"table_yaml": "inputs: {column: a, kind: txt}\n"}, None, r"unknown kind 'txt'; did you mean 'text'"),
    (TWO | {"table_yaml": "inputs: {column: a, row: 3}\n"}, None, r"column 'a' \(text\): unknown key 'row'"),
    (TWO | {"table_yaml": "inputs: {column: a, max_length: x}\n"}, None, r"max_length: expected such as 256, got 'x'"),
    (TWO | {"table_yaml": "metrics: [blue]\n"}, None, r"table.yaml: unknown metric 'blue'; did you mean 'bleu'"),
    (TWO | {"table_yaml": "metrics: bleu\n"}, None, r"table.yaml: metrics: expected a list of names"),
    (TWO | {"table_yaml": "folder: nowhere\n"}, None, r"no folder .*nowhere: expected train"),
]


@pytest.mark.parametrize(("files", "columns", "message"), WRONG_TABLES)
def test_wrong_tables_are_named_before_anything_is_written(tmp_path, files, columns, message):
    with pytest.raises(UserError, match=message):
        examples(write(tmp_path / "raw", **files), columns=columns)


GOOD = 'text,label\n"a, b",x\n"two\nlines",y\n' + "c,x\nd,y\n" * 4


@pytest.mark.parametrize(
    ("files", "number", "message"),
    [
        ({"train_csv": GOOD + "e,x,3\n"}, 10, "train.csv:13: 3 fields, but the header has 2"),
        ({"train_csv": GOOD + 'e,"x"y\n'}, 10, "train.csv:13: not CSV: "),
        ({"train_csv": GOOD + "e,\n"}, 10, "train.csv:13: column 'label': empty"),
        ({"train_csv": GOOD.encode() + b"\xe4,x\n"}, 10, "train.csv:13: not UTF-8"),
        ({"train_tsv": "text\tlabel\n" + "a\tx\nb\ty\n" * 4 + "only text\n"}, 8, "train.tsv:10: 1 fields, but the"),
        ({"train_jsonl": jsonl(SENTIMENT) + '{"text": "a", "label": 3}\n'}, 12, "train.jsonl:13: column 'label': a nu"),
        ({"train_jsonl": jsonl(SENTIMENT) + '["a"]\n'}, 12, "train.jsonl:13: expected an object such as"),
        ({"train_jsonl": jsonl(SENTIMENT) + '{"text\n'}, 12, "train.jsonl:13: not JSON"),
        ({"train_csv": "image,label\n" + "a.png,x\na.png,y\n" * 4 + "b.png,x\n"}, 8, "column 'image': no file "),
    ],
)
def test_broken_rows_are_left_out_by_file_and_line(tmp_path, files, number, message):
    found = examples(write(tmp_path, **files, a_png=picture()))
    assert len(found) == number + 1
    assert message in found[number]
    assert not any(isinstance(each, str) for each in found[:number])


def test_csv_and_tsv_quotes(tmp_path):
    assert examples(write(tmp_path / "a", train_csv=GOOD))[:2] == [("a, b", "x"), ("two\nlines", "y")]
    content = 'text\tlabel\n"quoted"\tx\n"he said ""no"""\ty\n5" screen\tz\n'
    assert examples(write(tmp_path / "b", train_tsv=content)) == [
        ('"quoted"', "x"),
        ('he said "no"', "y"),
        ('5" screen', "z"),
    ]


def records(data_dir, problem, split):
    """The stored examples of a split, text decoded."""
    manifest = Manifest.load(data_dir, problem)
    found = [parse(each) for shard in manifest.splits[split].shards for each in read_records(data_dir / shard.name)]
    problem = get_problem(problem)
    problem.adopt(manifest.declaration)
    for key, feature in (("inputs", problem.inputs), ("targets", problem.targets)):
        for example in found:
            if isinstance(feature, Text):
                vocabulary = Vocabulary.load(vocabulary_path(data_dir, feature.vocab))
                example[key] = vocabulary.decode(example[key])
            elif isinstance(feature, Label):
                example[key] = feature.classes[example[key][0]]
    return problem, found


def command(capfd, *flags):
    status = datagen.main([*flags, "--num_workers=1"])
    return status, capfd.readouterr().err


def test_from_flags_to_records_and_back_without_the_flags(tmp_path, capfd):
    rows = [{"question": f"is {i} even?", "answer": ("yes", "no")[i % 2], "n": i} for i in range(200)]
    write(tmp_path / "raw" / "mine", faq_jsonl=jsonl(rows))
    base = ["--problem=table_files.mine", f"--data_dir={tmp_path}/data", f"--tmp_dir={tmp_path}/raw"]
    status, error = command(capfd, *base, "--columns=inputs:question,targets:answer")
    assert status == 1
    assert "no table for 'dev' beside" in error
    assert "--held_out=5% takes dev from the training split" in error
    assert not list((tmp_path / "data").glob("*.model"))
    flags = ["--columns=inputs:question,targets:answer", "--held_out=10%"]
    status, error = command(capfd, *base, *flags)
    assert status == 0, error
    assert error.index("inputs 'question' (text), targets 'answer' (class); train from faq.jsonl") < error.index(
        "vocab"
    )
    assert "to change it: --columns=inputs:question:text,targets:answer:class" in error
    problem, train = records(tmp_path / "data", "table_files.mine", "train")
    dev = records(tmp_path / "data", "table_files.mine", "dev")[1]
    assert problem.targets.classes == ("no", "yes")
    assert 8 < len(dev) < 32
    assert sorted(e["inputs"] for e in train + dev) == sorted(row["question"] for row in rows)
    answers = {row["question"]: row["answer"] for row in rows}
    assert all(answers[e["inputs"]] == e["targets"] for e in train + dev)
    assert "already generated" in command(capfd, *base)[1]
    assert "already generated" in command(capfd, *base, *flags)[1]
    assert "generating again: --held_out was 10%" in command(capfd, *base, flags[0], "--held_out=20%")[1]
    status, error = command(capfd, *base, "--columns=inputs:question,targets:n:text", "--held_out=20%")
    assert "generating again: --columns has changed" in error
    assert records(tmp_path / "data", "table_files.mine", "train")[1][0]["targets"].isdigit()


def test_a_changed_table_yaml_generates_again(tmp_path, capfd):
    rows = [{"a": f"word {i}", "b": f"number {i}"} for i in range(20)]
    raw = write(tmp_path / "raw" / "mine", train_jsonl=jsonl(rows), dev_jsonl=jsonl(rows), table_yaml="targets: a\n")
    base = ["--problem=table_files.mine", f"--data_dir={tmp_path}/data", f"--tmp_dir={tmp_path}/raw"]

    def generate():
        status, error = command(capfd, *base)
        first = records(tmp_path / "data", "table_files.mine", "train")[1][0]["targets"]
        return status, "table.yaml has changed" in error, "already generated" in error, first

    assert generate() == (0, False, False, "word 0")
    write(raw, table_yaml="targets: b\n")
    assert generate() == (0, True, False, "number 0")
    write(raw, table_yaml="targets: b  # the number\n")
    assert generate() == (0, False, True, "number 0")
    manifest = Manifest.load(tmp_path / "data", "table_files.mine")
    del manifest.source["table_yaml"]  # as in version 0.1.0
    manifest.save(tmp_path / "data")
    write(raw, table_yaml="targets: a\n")
    assert generate() == (0, False, True, "number 0")


def test_sounds_and_pictures_as_bytes_are_stored(tmp_path):
    members = {}
    for i in range(4):
        members |= {f"{i}.wav": sound(0.5), f"{i}.txt": f"tone {i}".encode()}
    members["3.wav"] = b"RIFF and no more"
    tar(tmp_path / "raw" / "sounds" / "train.tar", members)
    tar(tmp_path / "raw" / "sounds" / "dev.tar", {"a.wav": sound(), "a.txt": b"tone"})
    generate(["table_files.sounds"], tmp_path / "data", tmp_path / "raw", num_workers=1, max_bad=0.5)
    _, train = records(tmp_path / "data", "table_files.sounds", "train")
    assert [each["targets"] for each in train] == ["tone 0", "tone 1", "tone 2"]
    samples = np.frombuffer(train[0]["inputs"], np.int16)
    assert len(samples) == 1600  # 0.1 s at 16 kHz
    assert abs(int(np.median(samples)) - 16384) < 200
    report = (tmp_path / "data" / "table_files.sounds.broken.tsv").read_text()
    assert re.search(r"train.tar, 3\.\*, inputs: the sound: not a readable sound file", report)


def test_wrong_flags_are_named(capfd, tmp_path):
    base = ["--problem=table_files.mine", f"--data_dir={tmp_path}/data"]
    for flag, message in {
        "--held_out=0%": "--held_out=0%: expected more than 0% and less than 100%",
        "--held_out=100%": "--held_out=100%: expected more than 0% and less than 100%",
        "--held_out=some": "--held_out=some: expected a fraction",
        "--columns=question,answer": "--columns=question,answer: expected inputs:COLUMN[:KIND],targets:COLUMN[:KIND]",
        "--columns=inputs:a,inputs:b": "expected inputs:COLUMN",
        "--columns=inputs:a:txt": "unknown kind 'txt'; did you mean 'text'",
    }.items():
        status, error = command(capfd, *base, flag)
        assert (status, message in error) == (2, True), error
    other = ["--problem=microworld_image", f"--data_dir={tmp_path}/data"]
    assert "--held_out: is for problems on your own files" in command(capfd, *other, "--held_out=5%")[1]
    assert "--columns: is for problems on your own tables" in command(capfd, *other, "--columns=inputs:a")[1]


class TestHeldOut:
    def test_equal_inputs_and_both_directions_are_on_one_side(self, tmp_path):
        german = [f"Satz {i % 50}" for i in range(200)]
        english = [f"sentence {i}" for i in range(200)]
        write(tmp_path, train_de="\n".join(german), train_en="\n".join(english))
        sides = {}
        for name in ("translate_files", "translate_files_rev"):
            problem = get_problem(name)
            assert not problem.has_dev(tmp_path)
            problem.held_out = 0.2
            problem.resolve(tmp_path)
            sides[name] = [list(split_items(problem, split, tmp_path)) for split in ("train", "dev")]
            assert sum(map(len, sides[name])) == 200
        forward, backward = sides["translate_files"], sides["translate_files_rev"]
        assert not {e["inputs"] for e in forward[0]} & {e["inputs"] for e in forward[1]}
        assert [{e["targets"] for e in side} for side in forward] == [{e["inputs"] for e in side} for side in backward]
        assert 4 <= len({e["inputs"] for e in forward[1]}) <= 18

    def test_pictures_by_their_content(self, tmp_path):
        for i in range(40):
            write(tmp_path / "raw" / "train" / ("cat", "dog")[i % 2], **{f"{i}_png": picture(i)})
            write(tmp_path / "raw" / "train" / ("cat", "dog")[i % 2], **{f"copy{i}_png": picture(i)})
        generate(["image_folder"], tmp_path / "data", tmp_path / "raw", num_workers=1, held_out=0.3)
        stored = {split: records(tmp_path / "data", "image_folder", split)[1] for split in ("train", "dev")}
        train, dev = ({each["inputs"] for each in side} for side in stored.values())
        assert len(train | dev) == 40
        assert not train & dev
        assert 4 <= len(dev) <= 22

    def test_a_dev_split_wins_and_an_empty_one_is_named(self, tmp_path, capfd):
        lines = "".join(f"text {i}\t{'xy'[i % 2]}\n" for i in range(6))
        write(tmp_path / "raw", train_tsv=lines)
        with pytest.raises(UserError, match=r"split 'dev' has no examples .*: none was drawn by --held_out=0.1%; give"):
            generate(["class_files"], tmp_path / "data", tmp_path / "raw", num_workers=1, held_out=0.001)
        write(tmp_path / "raw", test_tsv=lines)
        generate(["class_files"], tmp_path / "data", tmp_path / "raw", num_workers=1, held_out=0.5)
        assert "--held_out is not used: there is a dev split" in capfd.readouterr().err
        assert Manifest.load(tmp_path / "data", "class_files").splits["train"].examples == 6
