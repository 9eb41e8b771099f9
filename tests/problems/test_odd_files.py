"""caption_files, speech_files and parsing_files: reading, and messages about wrong files."""

import io
import re
import wave

import numpy as np
import pytest
import soundfile
from PIL import Image as PilImage

from t2t_lite.data.reading import Dataset
from t2t_lite.datagen.generate import generate
from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams
from t2t_lite.media.picture_files import image_bytes
from t2t_lite.media.sound_files import read_sound, resample
from t2t_lite.problems.parsing import read_trees
from t2t_lite.problems.problem import get_problem
from t2t_lite.problems.trees import delinearise, linearise, parse, plain


def read_back(data, name, split="dev"):
    """The dataset, and one batch of a split in the order of its examples."""
    dataset = Dataset.open(data, name)
    batches = list(dataset.batches(split, HParams(batch_tokens=100_000)))
    rows = {}
    for batch in batches:
        values = {key: value.numpy() for key, value in batch.items()}
        for row, index in enumerate(values["index"]):
            rows[int(index)] = {key: value[row] for key, value in values.items()}
    return dataset, [rows[index] for index in sorted(rows)]


def texts(dataset, rows, key="targets"):
    return [dataset.vocabularies["subwords"].decode(row[key]) for row in rows]


def tone(rate, seconds=0.5, hertz=440.0):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)


class TestCaptionFiles:
    @pytest.fixture
    def raw(self, tmp_path):
        folder = tmp_path / "raw" / "mine"
        (folder / "my pictures").mkdir(parents=True)
        for number in range(3):
            PilImage.new("RGB", (40, 30), (80 * number, 20, 30)).save(folder / "my pictures" / f"no {number}.png")
        table = (
            b"\xef\xbb\xbfmy pictures/no 0.png\ta red\tand blue thing\r\n\r\nmy pictures/no 2.png\tzwei \xc3\xa4\r\n"
        )
        (folder / "train.tsv").write_bytes(table)
        (folder / "test.tsv").write_bytes(table)
        return tmp_path / "raw"

    def test_from_files_to_batches(self, raw, tmp_path):
        generate(["caption_files.mine"], tmp_path / "data", raw, num_workers=2)
        dataset, rows = read_back(tmp_path / "data", "caption_files.mine")
        assert texts(dataset, rows) == ["a red\tand blue thing", "zwei ä"]
        np.testing.assert_allclose(rows[1]["inputs"][5, 5], [160, 20, 30], atol=2)
        assert dataset.problem.command == "to_english"

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("my pictures/no 0.png a caption", r"dev.tsv:2: expected path<TAB>text, got 'my pictures/no 0.png a"),
            ("my pictures/no 0.png\t ", r"dev.tsv:2: expected path<TAB>text"),
            ("my pictures/no 7.png\tseven", r"dev.tsv:2: no file .*no 7.png; paths are relative to the folder of dev"),
        ],
    )
    def test_wrong_lines_are_named(self, raw, tmp_path, line, message):
        (raw / "mine" / "dev.tsv").write_text(f"my pictures/no 1.png\tone\n{line}\n")
        with pytest.raises(UserError, match=message):
            generate(["caption_files.mine"], tmp_path / "data", raw, num_workers=1)
        assert not list((tmp_path / "data").glob("caption*"))

    def test_an_empty_table_and_an_empty_picture_are_named(self, raw, tmp_path):
        (raw / "mine" / "my pictures" / "no 2.png").write_bytes(b"")
        with pytest.raises(UserError, match=r"no 2.png: not a readable picture"):
            generate(["caption_files.mine"], tmp_path / "data", raw, num_workers=1)
        (raw / "mine" / "dev.tsv").write_bytes(b"")
        (raw / "mine" / "my pictures" / "no 2.png").write_bytes(
            (raw / "mine" / "my pictures" / "no 1.png").read_bytes()
        )
        with pytest.raises(UserError, match=r"split 'dev' has no examples in .*mine"):
            generate(["caption_files.mine"], tmp_path / "data", raw, num_workers=1)
        (raw / "mine" / "train.tsv").unlink()
        with pytest.raises(UserError, match=r"mine/train.tsv: missing: expected train.tsv and dev.tsv"):
            next(get_problem("caption_files").examples("train", raw / "mine"))


class TestPictures:
    def jpeg(self, size, **kwargs):
        """Left half red, right half blue."""
        picture = PilImage.new("RGB", size, "red")
        picture.paste("blue", (size[0] // 2, 0, *size))
        content = io.BytesIO()
        picture.save(content, "JPEG", **kwargs)
        return content.getvalue()

    def test_a_turned_photo_is_stored_upright(self):
        exif = PilImage.Exif()
        exif[0x0112] = 6  # turn by 90 degrees clockwise: left becomes top
        stored = PilImage.open(io.BytesIO(image_bytes(self.jpeg((60, 40), exif=exif))))
        assert (stored.format, stored.size) == ("JPEG", (40, 60))
        assert stored.getexif().get(0x0112, 1) == 1
        top, bottom = stored.getpixel((20, 5)), stored.getpixel((20, 55))
        assert top[0] > 200 > 60 > top[2] and bottom[2] > 200 > 60 > bottom[0]

    def test_a_photo_of_20_megapixels_is_shrunk_and_keeps_its_aspect_ratio(self):
        photo = self.jpeg((5184, 3888))
        stored = image_bytes(photo, (64, 64))
        picture = PilImage.open(io.BytesIO(stored))
        assert (picture.format, picture.size) == ("JPEG", (85, 64))
        assert len(stored) < 10_000
        assert picture.getpixel((10, 30))[0] > 200 and picture.getpixel((75, 30))[2] > 200
        assert image_bytes(self.jpeg((85, 64)), (64, 64)) == self.jpeg((85, 64))

    def test_16_bits_a_pixel_keep_their_shades(self):
        ramp = np.linspace(0, 65535, 200 * 200).astype(np.uint16).reshape(200, 200)
        content = io.BytesIO()
        PilImage.fromarray(ramp).save(content, "PNG")
        stored = np.asarray(PilImage.open(io.BytesIO(image_bytes(content.getvalue(), (50, 50)))))
        np.testing.assert_allclose(stored[25, 25], ramp[102, 102] / 257, atol=3)


class TestSpeechFiles:
    def test_from_files_to_batches(self, tmp_path):
        folder = tmp_path / "raw" / "mine"
        (folder / "a b").mkdir(parents=True)
        soundfile.write(folder / "a b" / "stereo.wav", np.stack([tone(44100), tone(44100)], axis=1), 44100)
        soundfile.write(folder / "a b" / "mono.flac", tone(8000), 8000)
        with wave.open(str(folder / "a b" / "eight.wav"), "wb") as file:
            file.setparams((1, 1, 16000, 0, "NONE", ""))
            file.writeframes(np.round(127.5 + 127 * tone(16000)).astype(np.uint8).tobytes())
        table = "".join(f"a b/{name}\t{name} said\n" for name in ("stereo.wav", "mono.flac", "eight.wav"))
        for split in ("train", "dev"):
            (folder / f"{split}.tsv").write_text(table)
        generate(["speech_files.mine"], tmp_path / "data", tmp_path / "raw", num_workers=2)
        dataset, rows = read_back(tmp_path / "data", "speech_files.mine")
        assert texts(dataset, rows) == ["stereo.wav said", "mono.flac said", "eight.wav said"]
        for row in rows:
            assert row["inputs_length"] == 8000
            np.testing.assert_allclose(row["inputs"][200:7800], tone(16000)[200:7800], atol=0.02)

    def test_wrong_sounds_are_named(self, tmp_path):
        (tmp_path / "train.tsv").write_text("x.wav\tx\n")
        (tmp_path / "dev.tsv").write_text("x.wav\tx\n")
        for content in (b"", b"no sound at all", b"RIFF\x00\x00\x00\x00WAVE"):
            (tmp_path / "x.wav").write_bytes(content)
            with pytest.raises(UserError, match=r"x.wav: not a readable sound file"):
                generate(["speech_files"], tmp_path / "data", tmp_path, num_workers=1)
        soundfile.write(tmp_path / "x.wav", np.zeros(0), 16000)
        with pytest.raises(UserError, match=r"x.wav: a sound file without samples"):
            read_sound(tmp_path / "x.wav", 16000)
        with pytest.raises(UserError, match=r"y.wav: cannot be read: No such file"):
            read_sound(tmp_path / "y.wav", 16000)

    def test_channels_are_averaged(self, tmp_path):
        soundfile.write(tmp_path / "x.wav", np.stack([tone(16000), np.zeros(8000)], axis=1), 16000)
        np.testing.assert_allclose(read_sound(tmp_path / "x.wav", 16000), tone(16000) / 2, atol=1e-3)

    @pytest.mark.parametrize(("rate", "wanted"), [(44100, 16000), (8000, 16000), (48000, 16000), (11025, 8000)])
    def test_resampling_keeps_a_tone_and_drops_frequencies_above_nyquist(self, rate, wanted):
        changed = resample(tone(rate), rate, wanted)
        assert len(changed) == -(-len(tone(rate)) * wanted // rate)
        inside = slice(wanted // 20, -wanted // 20)
        np.testing.assert_allclose(changed[inside], tone(wanted, len(changed) / wanted)[inside], atol=0.01)
        if wanted < rate:
            high = resample(tone(rate, hertz=0.49 * rate), rate, wanted)
            assert np.abs(high[inside]).max() < 0.01


TRACES = """
( (S
    (NP-SBJ-1 (DT The) (NN book) )
    (VP (VBD was)
      (VP (VBN read)
        (NP (-NONE- *-1) )
        (PP-LOC=2 (IN in) (NP (NNP Rome\\/Ostia) ))
        (SBAR (WHNP (-NONE- 0)) (S (-NONE- *T*)))))
    (-LRB- -LRB-) (ADVP|PRT (RB twice)) (-RRB- -RRB-)
    (. .) ))
"""
PLAIN = (
    "(S (NP (DT The) (NN book)) (VP (VBD was) (VP (VBN read) (PP (IN in) (NP (NNP Rome/Ostia))))) "
    "(-LRB- -LRB-) (ADVP (RB twice)) (-RRB- -RRB-) (. .))"
)


class TestParsingFiles:
    def test_the_rest_of_a_broken_tree_is_skipped(self, tmp_path):
        good = b"(S (NP (NN tea)))\n"
        broken = b"(S (NP (NN caf\xe9)\n  (VP (VBD was)\n    (ADJP (JJ open)))))\n"
        bracket_too_many = b"(S (NP (NN tea))))\n  (VP (VBD was))\n"
        within = b"(S\n  (NP (NN \xe9))\n  (VP (VBD was) (ADJP (JJ open))))\n"
        deep = b"(S " * 2000 + b"(NN x)" + b")" * 2000 + b"\n"
        (tmp_path / "x.mrg").write_bytes(good + broken + within + bracket_too_many + deep + good)
        found = list(read_trees(tmp_path / "x.mrg"))
        assert [str(tree) for tree in found if not isinstance(tree, UserError)] == ["(S (NP (NN tea)))"] * 2
        lines = [str(error).split(":")[1] for error in found if isinstance(error, UserError)]
        assert lines == ["2", "6", "8", "10"]

    def test_empty_nodes_and_function_tags_are_removed(self):
        tree = plain(parse(TRACES))
        assert str(tree) == PLAIN
        assert tree.words() == ["The", "book", "was", "read", "in", "Rome/Ostia", "(", "twice", ")", "."]
        assert linearise(tree).startswith("(S (NP DT NN )NP (VP VBD (VP VBN (PP IN (NP NNP )NP )PP )VP )VP -LRB- (ADVP")
        assert plain(parse(PLAIN)) == tree
        assert plain(parse(f"(ROOT {PLAIN})")) == plain(parse(f"(TOP {PLAIN})")) == tree
        assert plain(parse("(S (NP-SBJ (-NONE- *)))")) is None
        assert str(plain(parse("(NP ($ $) (PRP$ its) (: --) (`` ``))"))) == "(NP ($ $) (PRP$ its) (: --) (`` ``))"

    def test_from_files_to_batches(self, tmp_path):
        lines = f"\ufeff{TRACES}\n\n(S (NP-SBJ (-NONE- *)))\n(S (NP (NN tea)))\n(S\n  (NP (NN x)\n)\n)\n"
        (tmp_path / "train.mrg").write_bytes(lines.replace("\n", "\r\n").encode())
        (tmp_path / "test.mrg").write_text(lines)
        generate(["parsing_files"], tmp_path / "data", tmp_path, num_workers=1)
        for split in ("train", "dev"):
            dataset, rows = read_back(tmp_path / "data", "parsing_files", split)
            said = texts(dataset, rows, "inputs")
            assert said == ["The book was read in Rome/Ostia ( twice ) .", "tea", "x"]
            assert texts(dataset, rows)[1:] == ["(S (NP NN )NP )S"] * 2
        assert dataset.problem.metrics == ("tree",)

    def test_trees_survive_the_vocabulary(self, tmp_path):
        more = "(S (`` ``) (NP (PRP$ Its) (NN 5-%)) (: --) (X (-LRB- -LCB-) ($ US$) (CD 1\\/2)) (WHADVP|PRT (WRB how)))"
        wanted = [plain(parse(text)) for text in (TRACES, more)]
        for split in ("train", "dev"):
            (tmp_path / f"{split}.mrg").write_text(f"{TRACES}\n{more}\n")
        generate(["parsing_files"], tmp_path / "data", tmp_path, num_workers=1)
        dataset, rows = read_back(tmp_path / "data", "parsing_files")
        said = [sentence.split() for sentence in texts(dataset, rows, "inputs")]
        assert [delinearise(text, words) for text, words in zip(texts(dataset, rows), said, strict=True)] == wanted
        # A network may write any ids: there is a tree over the words all the same.
        rng, vocabulary = np.random.default_rng(0), dataset.vocabularies["subwords"]
        for _ in range(200):
            written = vocabulary.decode(rng.integers(2, vocabulary.size, 30).tolist())
            tree = delinearise(written, said[1])
            assert tree.words() == said[1] and str(parse(str(tree))) == str(tree)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("(S (NN a))\n\n(S (NN b)\n(S (NN c))\n", r"x.mrg:3: character 10: 1 bracket\(s\) not closed"),
            ("(S (NN a)) (S (NN b))\n", r"x.mrg:1: character 12: '\(' after the end of the tree"),
            ("(S (NN a))\nwords\n", r"x.mrg:2: character 1: 'words' outside of brackets"),
            ("(S (NN a)\n", r"x.mrg:1: .*not closed"),
        ],
    )
    def test_wrong_trees_are_named(self, tmp_path, content, message):
        (tmp_path / "x.mrg").write_text(content)
        (error,) = (tree for tree in read_trees(tmp_path / "x.mrg") if isinstance(tree, UserError))
        assert re.search(message, str(error))
