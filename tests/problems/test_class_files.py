"""class_files: lines of text and class; and vocabularies that are given, not built: one's own model, and the bytes."""

import io

import pytest
import sentencepiece

from t2t_lite import registry
from t2t_lite.bin import datagen
from t2t_lite.data.reading import Dataset
from t2t_lite.data.vocabulary import Vocabulary, vocabulary_path
from t2t_lite.datagen.generate import generate
from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams
from t2t_lite.problems import Problem, Text

TRAIN = "I like it\tgood\nnot\tmy taste\tbad\n\nfine\tgood\r\n"


def write(folder, train=TRAIN, dev="so so\tbad\n"):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "train.tsv").write_text(train, newline="")
    (folder / "dev.tsv").write_text(dev)
    return folder


def stored(data_dir, name, split):
    """[(input text, target)] of a split."""
    dataset = Dataset.open(data_dir, name)
    rows = {}
    for batch in dataset.batches(split, HParams()):
        for index, inputs, targets in zip(*(batch[key].numpy() for key in ("index", "inputs", "targets")), strict=True):
            rows[int(index)] = (next(iter(dataset.vocabularies.values())).decode(inputs), targets)
    return dataset, [rows[i] for i in sorted(rows)]


def test_from_lines_to_batches(tmp_path):
    write(tmp_path / "raw" / "reviews")
    generate(["class_files.reviews"], tmp_path / "data", tmp_path / "raw", num_workers=1)
    dataset, rows = stored(tmp_path / "data", "class_files.reviews", "train")
    assert dataset.problem.targets.classes == ("bad", "good")
    assert rows == [("I like it", 1), ("not\tmy taste", 0), ("fine", 1)]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"train": "a\tgood\nb\tgood\n"}, r"targets of split 'train': only one class, 'good'; a classifier needs two"),
        ({"train": "a\tgood\njust text\n"}, r"train.tsv:2: expected text<TAB>class, got 'just text'"),
        ({"dev": "a\tgood\nb\tgreat\n"}, r"dev.tsv:2, targets: no class 'great'; known classes: 'bad', 'good'"),
    ],
)
def test_wrong_lines_are_named(tmp_path, files, message):
    with pytest.raises(UserError, match=message):
        generate(["class_files"], tmp_path / "data", write(tmp_path / "raw", **files), num_workers=1)
    assert not list((tmp_path / "data").glob("*.manifest.json"))


def test_columns_that_look_swapped_are_mentioned(tmp_path, capfd):
    lines = "".join(f"{'good' if i % 2 else 'bad'}\tsentence {i}\n" for i in range(40))
    generate(["class_files"], tmp_path / "data", write(tmp_path / "raw", lines, lines), num_workers=1)
    assert "40 classes in 40 examples; is it the column of classes?" in capfd.readouterr().err


def sentencepiece_file(path, **options):
    model = io.BytesIO()
    texts = iter(["the red house", "the green house", "a red door"] * 20)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=texts, model_writer=model, vocab_size=300, hard_vocab_limit=False, minloglevel=2, **options
    )
    path.write_bytes(model.getvalue())
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def problem_of(text, name="words"):
    class Words(Problem):
        """The same words."""

        inputs = targets = text

        def examples(self, split, raw_dir):
            yield {"inputs": "the red  door", "targets": "a house"}

    registry.problems.register(Words, name=name)


@pytest.mark.parametrize(
    "options",
    [
        {"model_type": "unigram"},
        {"model_type": "bpe", "byte_fallback": True, "pad_id": 3},
        {"bos_id": -1, "eos_id": -1, "user_defined_symbols": ["<pad>", "</s>"]},
    ],
)
def test_a_sentencepiece_model_of_ones_own(tmp_path, capfd, options):
    processor = sentencepiece_file(tmp_path / "mine.model", **options)
    with registry.problems.temporary():
        problem_of(Text(vocab_file=str(tmp_path / "mine.model")))
        generate(["words"], tmp_path / "data", tmp_path, num_workers=1)
        dataset, ((inputs, targets),) = stored(tmp_path / "data", "words", "train")
    assert dataset.problem.inputs.vocab == "mine"
    vocabulary = dataset.vocabularies["mine"]
    assert inputs == processor.decode(processor.encode("the red  door"))
    pieces = processor.encode("a house", out_type=str)
    assert [vocabulary.piece(i) for i in targets[: len(pieces)]] == pieces
    assert targets[len(pieces)] == 1  # the end token
    for text in ("the zebra", "", "</s>"):
        assert [vocabulary.piece(i) for i in vocabulary.encode(text)] == processor.id_to_piece(processor.encode(text))
    lossy = "byte_fallback" not in options
    assert ("characters without a piece are stored as unknown" in capfd.readouterr().err) == lossy


def test_wrong_vocabulary_files_are_named(tmp_path):
    path = tmp_path / "mine.model"
    with registry.problems.temporary():
        problem_of(Text(vocab_file=str(path)))
        with pytest.raises(UserError, match=r"vocab_file: .*mine.model: cannot be read: No such file"):
            generate(["words"], tmp_path / "data", tmp_path, num_workers=1)
        for content in (b"no model", b"", b"\x0a\x03\x0a\x01a"):
            path.write_bytes(content)
            with pytest.raises(UserError, match=r"vocab_file: .*mine.model: not a sentencepiece model"):
                generate(["words"], tmp_path / "data", tmp_path, num_workers=1)
        sentencepiece_file(path)
        (tmp_path / "copy").mkdir()
        problem_of(Text(vocab_file=str(tmp_path / "copy" / "mine.model")), "more")
        with pytest.raises(UserError, match="vocabulary 'mine' is declared with two files"):
            generate(["words", "more"], tmp_path / "data", tmp_path, num_workers=1)
        generate(["words"], tmp_path / "data", tmp_path, num_workers=1)
        sentencepiece_file(tmp_path / "copy" / "mine.model", model_type="bpe")
        with pytest.raises(UserError, match=r"copy/mine.model differs from .*vocab.mine.model"):
            generate(["more"], tmp_path / "data", tmp_path, num_workers=1)


def test_bytes_as_a_vocabulary(tmp_path):
    with registry.problems.temporary():
        problem_of(Text(vocab="bytes"))
        generate(["words"], tmp_path / "data", tmp_path, num_workers=1)
        dataset, ((inputs, targets),) = stored(tmp_path / "data", "words", "train")
    assert inputs == "the red  door"
    assert targets[:8].tolist() == [3 + byte for byte in b"a house"] + [1]
    assert dataset.vocabularies["bytes"].size == 3 + 256
    vocabulary = Vocabulary.load(vocabulary_path(tmp_path / "data", "bytes"))
    for text in ("", "  a  é日🙂\0\t\r\n", "\u2581\U0010ffff0", "</s><0x41>"):
        assert vocabulary.decode(vocabulary.encode(text)) == text


def test_given_vocabularies_give_the_same_ids_in_an_export(tmp_path):
    from t2t_lite.serving.tokenizer import Tokenizer

    sentencepiece_file(tmp_path / "mine.model", model_type="unigram")
    for vocabulary in (Vocabulary.of_bytes(), Vocabulary.from_user_file(tmp_path / "mine.model")):
        texts = ["the red  house", "", "a door"]
        ids = Tokenizer(vocabulary).encode(texts)
        assert ids.to_list() == [vocabulary.encode(text) for text in texts]
        answers = Tokenizer(vocabulary).decode(ids.to_tensor().numpy().astype("int32"))
        assert [text.decode() for text in answers.numpy()] == [vocabulary.decode(i) for i in ids.to_list()]


METRIC = """\
from t2t_lite import registry
from t2t_lite.problems import Problem, Text
@registry.metrics.register
def exact(answers, references):
    "The fraction of answers that equal their reference."
    return sum(a == r for a, r in zip(answers, references)) / len(answers)
"""


def test_a_metric_of_ones_own_is_listed_scored_and_reported(tmp_path, capsys):
    from t2t_lite.bin import trainer
    from t2t_lite.evaluation import metrics
    from t2t_lite.evaluation.report import format_report

    (tmp_path / "own_metric.py").write_text(METRIC)
    with registry.metrics.temporary():
        assert trainer.main(["--registry_help", f"--t2t_usr_dir={tmp_path}"]) == 0
        listing = capsys.readouterr().out.partition("Metrics of decoded texts:")[2].partition("\n\n")[0]
        assert "exact    The fraction of answers that equal" in listing
        assert "cider_d  Mean CIDEr-D" in listing
        problem = Problem("p")
        problem.targets, problem.metrics = Text(), ("exact", "wer")
        metrics.check(problem)
        scores = metrics.score(problem.metrics, ["a b", "c"], ["a b", "d"])
        assert scores == {"exact": 0.5, "wer": pytest.approx(1 / 3)}
        table = format_report({"step": 7, "problems": {"p": {"examples": 2, **scores}}})
        assert "WER  exact" in table
        assert "33.3%  0.500" in table
        registry.metrics.register(lambda answers, references: {"x": float("nan")}, name="odd")
        registry.metrics.register(lambda answers, references: answers[5], name="faulty")
        with pytest.raises(UserError, match="metric 'odd': returned 'x': nan; expected a finite number"):
            metrics.score(["odd"], ["a"], ["a"])
        with pytest.raises(UserError, match="metric 'faulty' failed: IndexError: list index"):
            metrics.score(["faulty"], ["a"], ["a"])
        problem.metrics = ("exacct",)
        with pytest.raises(UserError, match="problem 'p': unknown metric 'exacct'; did you mean 'exact'"):
            metrics.check(problem)


def test_the_command_lists_it(capsys):
    assert datagen.main(["--list"]) == 0
    assert "class_files" in capsys.readouterr().out
