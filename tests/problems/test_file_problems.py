"""Problems on the user's own files: reading them, and messages about wrong files."""

import io
import json
import sys

import numpy as np
import pytest
from PIL import Image as PilImage

from t2t_lite import registry
from t2t_lite.bin import datagen
from t2t_lite.data.reading import Dataset
from t2t_lite.datagen.generate import generate
from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams
from t2t_lite.problems.problem import get_problem

GERMAN = ["Das rote Haus.", "Der Hund läuft.", "Guten Tag!", "Ja."]
ENGLISH = ["The red house.", "The dog runs.", "Good day!", "Yes."]


def write(folder, **files):
    """Writes train_de="..." as train.de."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        path = folder / name.replace("_", ".", 1)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.fixture
def pairs(tmp_path):
    """Raw files of a translation problem."""
    folder = tmp_path / "raw"
    german, english = ("\n".join(lines) + "\n" for lines in (GERMAN, ENGLISH))
    write(folder, train_de=german, train_en=english, dev_de=german, dev_en=english)
    return folder


def examples(name, split, folder):
    problem = get_problem(name)
    problem.resolve(folder)
    return problem, list(problem.examples(split, folder))


class TestTranslateFiles:
    def test_reads_aligned_lines_and_languages(self, pairs):
        problem, found = examples("translate_files", "train", pairs)
        assert found == [{"inputs": de, "targets": en} for de, en in zip(GERMAN, ENGLISH, strict=True)]
        assert problem.command == "to_english"
        problem, found = examples("translate_files_rev", "train", pairs)
        assert found[0] == {"inputs": ENGLISH[0], "targets": GERMAN[0]}
        assert problem.command == "to_german"

    def test_the_test_split_serves_if_dev_is_missing(self, pairs):
        for language in ("de", "en"):
            (pairs / f"dev.{language}").rename(pairs / f"test.{language}")
        assert len(examples("translate_files", "dev", pairs)[1]) == 4

    def test_takes_crlf_byte_order_marks_empty_pairs_and_odd_line_separators(self, tmp_path):
        write(tmp_path, train_nl=b"\xef\xbb\xbfeen\r\n\r\n twee\xe2\x80\xa8x \r\n", train_pl=b"jeden\n\ndwa")
        problem, found = examples("translate_files", "train", tmp_path)
        assert found == [{"inputs": "een", "targets": "jeden"}, {"inputs": "twee\u2028x", "targets": "dwa"}]
        assert problem.command == "to_pl"

    @pytest.mark.parametrize(
        ("files", "message"),
        [
            ({"train_de": "a\n"}, r"train.de has 1 lines, .*train.en has 4: .*without a partner is .*train.en:2"),
            ({"dev_en": "a\nb\nc\nd\ne"}, r"dev.de has 4 lines, .*dev.en has 5: .*dev.en:5"),
            ({"train_de": "a\n\nc\nd\n"}, r"train.de:2: empty, but line 2 of .*train.en is not"),
            ({"train_en": "a\nb\nc\n \n"}, r"train.en:4: empty, but line 4 of .*train.de is not"),
            ({"train_de": b"a\nb\xe4\nc\nd\n"}, r"train.de:2: not UTF-8 .*byte 2"),
            ({"train_de": "a\nb\nc\nd".encode("utf-16")}, r"train.de: looks like UTF-16: convert it to UTF-8"),
            ({"train_fr": "a\n"}, r"found train.de, train.en, train.fr: .*keep one pair of languages in a folder"),
        ],
    )
    def test_wrong_files_are_named(self, pairs, tmp_path, files, message):
        write(pairs, **files)
        with pytest.raises(UserError, match=message):
            generate(["translate_files"], tmp_path / "data", pairs, num_workers=1)
        assert not list((tmp_path / "data").glob("translate*"))

    def test_missing_files_are_named(self, pairs):
        (pairs / "dev.en").unlink()
        with pytest.raises(UserError, match=r"dev.en: missing: expected train.SRC"):
            examples("translate_files", "dev", pairs)
        (pairs / "train.en").unlink()
        with pytest.raises(UserError, match=r"found train.de: expected train.SRC, train.TGT"):
            examples("translate_files", "train", pairs)
        with pytest.raises(UserError, match=r"no folder .*nowhere: expected"):
            examples("translate_files", "train", pairs / "nowhere")

    def test_from_files_to_batches_by_source(self, pairs, tmp_path):
        generate(["translate_files.raw", "translate_files_rev.raw"], tmp_path / "data", tmp_path, num_workers=2)
        assert (tmp_path / "data" / "translate_files.raw-train-00000-of-00001").exists()
        for name, command, texts in (
            ("translate_files.raw", "to_english", ENGLISH),
            ("translate_files_rev.raw", "to_german", GERMAN),
        ):
            dataset = Dataset.open(tmp_path / "data", name)
            assert dataset.problem.command == command
            assert dataset.problem.languages == (("de", "en") if command == "to_english" else ("en", "de"))
            found = {}
            for batch in dataset.batches("dev", HParams()):
                for index, ids in zip(batch["index"].numpy(), batch["targets"].numpy(), strict=True):
                    found[int(index)] = dataset.vocabularies["subwords"].decode(ids)
            assert [found[i] for i in range(4)] == texts
        manifest = json.loads((tmp_path / "data" / "translate_files.raw.manifest.json").read_text())
        assert manifest["splits"]["train"]["examples"] == 4
        assert manifest["vocabularies"] == {"subwords": dataset.vocabularies["subwords"].checksum}


def save(path, mode="RGB", size=(8, 6), value=90, **kwargs):
    path.parent.mkdir(parents=True, exist_ok=True)
    colour = {"RGB": (value, 20, 30), "RGBA": (value, 20, 30, 0), "LA": (value, 0), "CMYK": (0, 0, 0, 0)}
    PilImage.new(mode, size, colour.get(mode, value)).save(path, **kwargs)


@pytest.fixture
def pictures(tmp_path):
    """Raw files of an image problem."""
    folder = tmp_path / "raw"
    for split in ("train", "dev"):
        save(folder / split / "cat" / "a.png")
        save(folder / split / "dog" / "b.JPG", value=200)
        (folder / split / "dog" / "notes.txt").write_text("no picture")
    return folder


class TestImageFolder:
    def test_from_files_to_batches(self, pictures, tmp_path):
        for number, mode in enumerate(("L", "P", "RGBA", "LA", "1", "I;16")):
            save(pictures / "dev" / "cat" / f"{number}{mode[0]}.png", mode)
        save(pictures / "dev" / "cat" / "cmyk.jpeg", "CMYK")
        generate(["image_folder"], tmp_path / "data", pictures, num_workers=1)
        dataset = Dataset.open(tmp_path / "data", "image_folder")
        assert dataset.problem.targets.classes == ("cat", "dog")
        (batch,) = dataset.batches("dev", HParams())
        inputs = batch["inputs"].numpy()[np.argsort(batch["index"])]
        targets = batch["targets"].numpy()[np.argsort(batch["index"])]
        assert inputs.shape == (9, 32, 32, 3)
        for (path, name), picture, target in zip(
            [e.values() for e in examples("image_folder", "dev", pictures)[1]], inputs, targets, strict=True
        ):
            assert dataset.problem.targets.classes[target] == name == path.parent.name
            wanted = {
                "a": [90, 20, 30],
                "b": [200, 20, 30],
                "0": [90] * 3,
                "2": [255] * 3,  # transparent
                "3": [255] * 3,
                "c": [255] * 3,  # no ink
            }
            if path.name[0] in wanted:
                np.testing.assert_allclose(picture[5, 5], wanted[path.name[0]], atol=4)

    def test_good_files_are_stored_unchanged(self, pictures, tmp_path):
        from t2t_lite.media.picture_files import image_bytes

        for path in (pictures / "train" / "cat" / "a.png", pictures / "train" / "dog" / "b.JPG"):
            assert image_bytes(path) == path.read_bytes()
        webp = io.BytesIO()
        PilImage.new("RGB", (4, 4), (1, 2, 3)).save(webp, "WEBP", lossless=True)
        stored = PilImage.open(io.BytesIO(image_bytes(webp.getvalue())))
        assert (stored.format, stored.getpixel((0, 0))) == ("PNG", (1, 2, 3))

    def test_the_order_is_shuffled_over_classes_and_reproducible(self, pictures):
        for number in range(20):
            save(pictures / "train" / "cat" / f"{number}.png")
            save(pictures / "train" / "dog" / f"{number}.png")
        first, again = (examples("image_folder", "train", pictures)[1] for _ in range(2))
        assert first == again
        names = [example["targets"] for example in first]
        assert sorted(names) == ["cat"] * 21 + ["dog"] * 21
        assert len(set(names[:10])) == 2

    @pytest.mark.parametrize("content", [b"no picture", b"", None])
    def test_a_file_that_is_no_picture_is_named(self, pictures, tmp_path, content):
        path = pictures / "dev" / "cat" / "broken.png"
        if content is None:  # cut short
            rng = np.random.default_rng(0)
            PilImage.fromarray(rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(path)
            content = path.read_bytes()[:5000]
        path.write_bytes(content)
        with pytest.raises(UserError, match=rf"{path}: not a readable picture"):
            generate(["image_folder"], tmp_path / "data", pictures, num_workers=1)
        assert not list((tmp_path / "data").iterdir())

    def test_multi_picture_jpegs_and_jpegs_with_unreadable_exif_are_stored_unchanged(self, pictures, tmp_path):
        from t2t_lite.media.picture_files import image_bytes

        noise = np.random.default_rng(0).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        first, second = PilImage.fromarray(noise), PilImage.new("RGB", (8, 8))
        first.save(tmp_path / "two.jpg", "MPO", save_all=True, append_images=[second])
        with PilImage.open(tmp_path / "two.jpg") as photo:
            assert photo.format == "MPO"
        first.save(tmp_path / "odd.jpg", exif=b"Exif\0\0no tables at all", dpi=(72, 72))
        for name in ("two.jpg", "odd.jpg"):
            assert image_bytes(tmp_path / name) == (tmp_path / name).read_bytes(), name
        (pictures / "train" / "cat" / "link.png.lock").symlink_to("nowhere")
        generate(["image_folder"], tmp_path / "data", pictures, num_workers=1)

    def test_wrong_folders_are_named(self, pictures, tmp_path):
        save(pictures / "dev" / "cow" / "a.png")
        with pytest.raises(UserError, match=r"dev/cow: no class 'cow' in .*train"):
            examples("image_folder", "dev", pictures)
        (pictures / "dev").rename(pictures / "elsewhere")
        with pytest.raises(UserError, match=r"no folder .*dev: expected train/CLASS/"):
            examples("image_folder", "dev", pictures)
        save(pictures / "test" / "cat" / "a.png")
        assert len(examples("image_folder", "dev", pictures)[1]) == 1
        (tmp_path / "train" / "cat").mkdir(parents=True)
        with pytest.raises(UserError, match=r"no pictures in .*train: expected train/CLASS/"):
            examples("image_folder", "train", tmp_path)


def test_a_line_with_its_columns_swapped_is_left_out(tmp_path):
    save(tmp_path / "raw" / "a.png")
    lines = ["a.png\tgrey"] * 20
    (tmp_path / "raw" / "dev.tsv").write_text("\n".join(lines))
    (tmp_path / "raw" / "train.tsv").write_text("\n".join([*lines, "a long caption " * 40 + "\ta.png"]))
    generate(["caption_files"], tmp_path / "data", tmp_path / "raw", num_workers=1, max_bad=0.1)
    (line,) = (tmp_path / "data" / "caption_files.broken.tsv").read_text().splitlines()
    assert "train.tsv:21: no file" in line


@pytest.mark.parametrize("rows", [None, ""])
def test_a_split_without_files_or_examples_fails_before_any_work(tmp_path, rows):
    save(tmp_path / "raw" / "a.png")
    (tmp_path / "raw" / "train.tsv").write_text("a.png\tgrey\n" * 200)
    if rows is not None:
        (tmp_path / "raw" / "dev.tsv").write_text(rows)
    with pytest.raises(UserError, match=r"dev.tsv: missing" if rows is None else "split 'dev' has no examples"):
        generate(["caption_files"], tmp_path / "data", tmp_path / "raw", num_workers=1)
    assert not list((tmp_path / "data").iterdir())  # no vocabulary either


OWN = """\
from t2t_lite import registry
from t2t_lite.problems import Image
from t2t_lite.problems.image import ImageFolder
@registry.problems.register
class Birds(ImageFolder):
    "Birds at feeders."
    source, inputs = "my birds", Image(rows=16, columns=16)
"""


def test_several_sources_and_a_subclass_in_one_run(tmp_path, capsys):
    raw, usr = tmp_path / "raw", tmp_path / "usr"
    for number, folder in enumerate(("news", "e-mails")):
        lines = [f"{line} {number}" for line in GERMAN]
        write(
            raw / folder, **{f"{split}_{side}": "\n".join(lines) for split in ("train", "dev") for side in ("de", "en")}
        )
    for number, folder in enumerate(("my birds", "cats")):
        for split in ("train", "dev"):
            save(raw / folder / split / "one" / "a.png", value=100 * number)
    usr.mkdir()
    (usr / "own_birds.py").write_text(OWN)
    names = ["translate_files.news", "translate_files.e-mails", "image_folder.cats", "birds"]
    flags = [f"--data_dir={tmp_path}/data", f"--tmp_dir={raw}", "--num_workers=1", f"--t2t_usr_dir={usr}"]
    with registry.problems.temporary():
        assert datagen.main([f"--problem={','.join(names)}", *flags]) == 0
        datasets = [Dataset.open(tmp_path / "data", name) for name in names]
        news, emails, cats, birds = (list(dataset.batches("dev", HParams())) for dataset in datasets)
        assert datagen.main(["--problem=birds.cats", *flags]) == 1
        assert "'birds.cats': '.SOURCE' is for problems on your own files" in capsys.readouterr().err
        assert datagen.main(["--problem=image_folder.2024", *flags]) == 1
        assert "of letters, digits, - and _, not beginning with a digit" in capsys.readouterr().err
    sys.modules.pop("own_birds")
    decode = datasets[0].vocabularies["subwords"].decode
    assert datasets[1].vocabularies["subwords"].checksum == datasets[0].vocabularies["subwords"].checksum
    for number, batches in enumerate((news, emails)):
        read = [decode(ids) for batch in batches for ids in batch["inputs"].numpy()]
        assert sorted(read) == sorted(f"{line} {number}" for line in GERMAN)
    np.testing.assert_allclose(cats[0]["inputs"][0, 5, 5], [100, 20, 30], atol=1)
    np.testing.assert_allclose(birds[0]["inputs"][0, 5, 5], [0, 20, 30], atol=1)
    assert birds[0]["inputs"].shape == (1, 16, 16, 3)
