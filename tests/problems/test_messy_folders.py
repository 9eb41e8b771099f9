"""Folders, pictures, tables and texts as people have them: taken, or skipped and reported."""

import unicodedata

import numpy as np
import pytest
from PIL import Image as PilImage

from t2t_lite.data.manifest import Manifest
from t2t_lite.datagen.generate import generate
from t2t_lite.errors import UserError
from t2t_lite.problems.files import count_lines, read_lines, try_lines, walk_files
from t2t_lite.problems.problem import get_problem


def save(path, value=90, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    PilImage.new("RGB", (8, 6), (value, 20, 30)).save(path, **options)


def examples(split, folder, name="image_folder"):
    problem = get_problem(name)
    problem.resolve(folder)
    return problem, list(problem.examples(split, folder))


def found(folder, split="train"):
    problem, items = examples(split, folder)
    return problem.targets.classes, sorted(str(item["inputs"].relative_to(folder / split)) for item in items)


@pytest.fixture
def pictures(tmp_path):
    """One picture a class and split."""
    folder = tmp_path / "raw"
    for split in ("train", "dev"):
        for name in ("a", "b"):
            save(folder / split / name / "1.png")
    return folder


class TestImageFolder:
    def test_pictures_of_any_format_in_any_depth_are_taken(self, pictures, capsys):
        names = ["a/more/2.PNG", "a/more/and more/3.jpg", "b/4.WebP", "c/5.bmp", "d/6.gif", "d/7.TIFF", "d/8.ppm"]
        for name in names:
            save(pictures / "train" / name)
        assert found(pictures) == (("a", "b", "c", "d"), sorted(["a/1.png", "b/1.png", *names]))
        assert capsys.readouterr().err == ""

    def test_hidden_names_are_skipped_at_any_depth(self, pictures, capsys):
        hidden = [".ipynb_checkpoints/1.png", "a/._1.png", "a/.git/x/1.png", "__MACOSX/a/1.png", ".DS_Store/1.png"]
        for split in ("train", "dev"):
            for name in hidden:
                save(pictures / split / name)
            (pictures / split / ".hidden.txt").write_text("")
        assert found(pictures) == (("a", "b"), ["a/1.png", "b/1.png"])
        assert len(examples("dev", pictures)[1]) == 2
        assert capsys.readouterr().err == ""

    def test_what_is_skipped_is_reported_once(self, pictures, capsys):
        for name in ("a/Thumbs.db", "a/deep/desktop.ini", "b/x.heic", "readme.txt"):
            path = pictures / "train" / name
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"x")
        save(pictures / "train" / "in no class.png")
        (pictures / "train" / "empty").mkdir()
        problem, first = examples("train", pictures)
        assert list(problem.examples("train", pictures)) == first and len(first) == 2
        lines = capsys.readouterr().err.splitlines()
        assert lines == [
            "image_folder, train: 5 files passed over: a/Thumbs.db, deep/desktop.ini, b/x.heic, train/in no class.png, "
            "train/readme.txt (not in a class's folder, or no picture format that Pillow reads)",
            "image_folder, train: 1 folder passed over: train/empty (no pictures in it)",
        ]

    def test_links_are_followed_and_links_in_a_circle_end(self, pictures, tmp_path):
        save(tmp_path / "elsewhere" / "9.png")
        (pictures / "train" / "a" / "link").symlink_to(tmp_path / "elsewhere")
        (pictures / "train" / "a" / "circle").symlink_to(pictures / "train")
        (pictures / "train" / "c").symlink_to(tmp_path / "elsewhere")
        assert found(pictures) == (("a", "b", "c"), ["a/1.png", "a/link/9.png", "b/1.png", "c/9.png"])

    def test_class_names_in_both_unicode_forms_are_one_class(self, pictures):
        composed, decomposed = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))
        save(pictures / "train" / composed / "1.png")
        save(pictures / "train" / decomposed / "2.png")
        save(pictures / "dev" / decomposed / "3.png")
        assert found(pictures)[0] == ("a", "b", composed)
        names = [item["targets"] for split in ("train", "dev") for item in examples(split, pictures)[1]]
        assert names.count(composed) == 3

    def test_names_that_are_not_utf8(self, pictures, tmp_path):
        latin = b"caf\xe9".decode("utf8", "surrogateescape")
        save(pictures / "train" / "a" / f"{latin}.png")
        (pictures / "train" / "b" / f"{latin} broken.png").write_bytes(b"x")
        generate(["image_folder"], tmp_path / "data", pictures, num_workers=1, max_bad=0.5)
        assert Manifest.load(tmp_path / "data", "image_folder").splits["train"].examples == 3
        assert r"caf\udce9 broken.png: not a readable" in (tmp_path / "data" / "image_folder.broken.tsv").read_text()
        save(pictures / "train" / latin / "1.png")
        with pytest.raises(UserError, match=r"caf\\udce9: the folder's name is not UTF-8"):
            examples("train", pictures)

    @pytest.mark.parametrize("folder", ["a b", "[x]", "*", "{1,2}?", 'it\'s "quoted"', "-x", "ü"])
    def test_a_folder_of_any_name_is_read(self, pictures, tmp_path, folder):
        raw = tmp_path / folder
        pictures.rename(raw)
        save(raw / "train" / "[a]*" / "1 '\"?.png")
        generate(["image_folder"], tmp_path / "data", raw, num_workers=1)
        manifest = Manifest.load(tmp_path / "data", "image_folder")
        assert manifest.declaration["targets"]["classes"] == ["[a]*", "a", "b"]


class TestTables:
    def test_files_that_are_no_picture_or_sound_are_named(self, tmp_path):
        (tmp_path / "a.heic").write_bytes(b"\0\0\0\x18ftypheic")
        for split in ("train", "dev"):
            (tmp_path / f"{split}.tsv").write_text("a.heic\tx\n")
        with pytest.raises(UserError, match=r"a.heic: not a readable picture \(no picture format that Pillow reads"):
            generate(["caption_files"], tmp_path / "data", tmp_path, num_workers=1)
        with pytest.raises(
            UserError, match=r"a.heic: not a readable sound file \(WAV, FLAC, SPHERE, or another format"
        ):
            generate(["speech_files"], tmp_path / "data", tmp_path, num_workers=1)

    @pytest.mark.parametrize("name", ["a b.png", "[1].png", "*.png", 'it\'s "1".png', "-x.png", "ü.png"])
    def test_a_picture_of_any_name_is_read(self, tmp_path, name):
        save(tmp_path / name)
        for split in ("train", "dev"):
            (tmp_path / f"{split}.tsv").write_text(f"{name}\tx\n")
        generate(["caption_files"], tmp_path / "data", tmp_path, num_workers=1)


class TestTexts:
    TEXT = "Die Tür\nist offen\n"

    @pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le"])
    def test_utf16_and_utf32_are_refused_with_or_without_a_mark(self, tmp_path, encoding):
        (tmp_path / "x.txt").write_bytes(self.TEXT.encode(encoding))
        for read in (lambda path: list(read_lines(path)), lambda path: list(try_lines(path)), count_lines):
            with pytest.raises(UserError, match=r"x.txt: looks like UTF-16: convert it to UTF-8, for instance: iconv"):
                read(tmp_path / "x.txt")

    def test_lone_carriage_returns_are_refused_where_they_end_the_lines(self, tmp_path):
        path = tmp_path / "x.txt"
        path.write_bytes(self.TEXT.replace("\n", "\r").encode())
        with pytest.raises(UserError, match=r"x.txt: its lines end in CR alone: convert them: tr"):
            list(read_lines(path))
        path.write_bytes(b"one\rand a half\ntwo\r\n")  # aligned by LF: a stray CR does not shift the lines
        assert list(read_lines(path)) == ["one\rand a half", "two"]
        path.write_bytes(b"one line\r")
        assert list(read_lines(path)) == ["one line"]

    def test_translations_in_such_encodings_are_refused_before_their_lines_are_compared(self, tmp_path):
        for split in ("train", "dev"):
            (tmp_path / f"{split}.de").write_text(self.TEXT)
            (tmp_path / f"{split}.en").write_bytes(b"the door\ris open\r")
        with pytest.raises(UserError, match=r"train.en: its lines end in CR alone"):
            examples("train", tmp_path, "translate_files")

    def test_a_few_zero_bytes_are_text(self, tmp_path):
        (tmp_path / "x.txt").write_bytes(b"a" * 100 + b"\0\nb\n")
        assert count_lines(tmp_path / "x.txt") == 2 and len(list(read_lines(tmp_path / "x.txt"))) == 2


def test_words_without_a_tag_are_reported_once_a_split(tmp_path, capsys):
    for split in ("train", "dev"):
        (tmp_path / f"{split}.mrg").write_text("(S (NN a))\n(S (NP the cat)\n  (VP sleeps))\n( (S x y) (S (NN z)) )\n")
    problem = get_problem("parsing_files")
    for split in ("train", "train", "dev"):
        items = list(problem.examples(split, tmp_path))
    assert items[1] == {"inputs": "the cat sleeps", "targets": "(S (NP XX XX )NP (VP XX )VP )S"}
    assert items[2] == {"inputs": "x y z", "targets": "(ROOT (S XX XX )S (S NN )S )ROOT"}
    assert capsys.readouterr().err.splitlines() == [
        f"parsing_files, {split}: 5 words in 2 trees have no tag, the first at {tmp_path}/{split}.mrg:2; "
        "they get the tag XX"
        for split in ("train", "dev")
    ]


def test_trees_keep_words_with_odd_spaces_and_brackets(tmp_path):
    """From files through records to what a network would be given."""
    from t2t_lite.data.reading import Dataset
    from t2t_lite.hparams import HParams

    for split in ("train", "dev"):
        (tmp_path / f"{split}.mrg").write_text("(S (NN a\u00a0b) (NN c\u3000d) (NN t-LRB-est-RRB-) (NN -LSB-))\n")
    generate(["parsing_files"], tmp_path / "data", tmp_path, num_workers=1)
    dataset = Dataset.open(tmp_path / "data", "parsing_files")
    (batch,) = dataset.batches("dev", HParams())
    text = dataset.vocabularies["subwords"].decode(np.asarray(batch["inputs"][0]))
    assert text == "a\u00a0b c\u3000d t(est) ["


def test_walking_names_a_folder_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="nowhere: cannot be read: No such file"):
        list(walk_files(tmp_path / "nowhere"))
