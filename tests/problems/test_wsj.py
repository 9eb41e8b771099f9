"""The Wall Street Journal problems, on files in the corpora's formats."""

import sys
import textwrap

import numpy as np
import pytest

from t2t_lite.data.reading import Dataset
from t2t_lite.datagen.generate import generate
from t2t_lite.errors import UserError
from t2t_lite.hparams import HParams
from t2t_lite.problems.problem import get_problem, get_problems
from t2t_lite.problems.wsj_speech import normalise

SAMPLES = (3000 * np.sin(np.arange(4000) / 7)).astype("<i2")


def sphere(path, samples=SAMPLES, coding="pcm"):
    """Writes a file with a SPHERE header, as the LDC does; `coding` only names a compression."""
    lines = [
        "NIST_1A",
        "   1024",
        "database_id -s4 WSJ1",
        "channel_count -i 1",
        f"sample_count -i {len(samples)}",
        "sample_rate -i 16000",
        "sample_n_bytes -i 2",
        "sample_byte_format -s2 01",
        "sample_sig_bits -i 16",
        f"sample_coding -s{len(coding)} {coding}",
        "end_head\n",
    ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes("\n".join(lines).encode().ljust(1024) + samples.tobytes())


def discs(root, coding="pcm"):
    """Writes a few utterances of each set, and some that belong to none."""
    sets = {
        "11-1.1/wsj0/si_tr_s/01r/01ro0301.wv1": "train",
        "11-1.1/wsj0/si_tr_s/01r/01ro0302.wv1": "",  # no transcript
        "13-1.1/WSJ1/SI_TR_S/4A0/4A0A0101.WV1": "train",
        "13-16.1/wsj1/si_dt_20/4k0/4k0c0301.wv1": "dev",
        "11-6.1/wsj0/si_dt_20/050/050c0101.wv1": "",  # dev is WSJ1's alone
        "11-14.1/wsj0/si_et_20/440/440c0401.wv1": "test",
    }
    for number, name in enumerate(sets):
        sphere(root / name, SAMPLES[: 1000 + number], coding)
    sphere(root / "11-1.1/wsj0/si_tr_s/01r/01ro0301.wv2")
    dots = root / "11-1.1/wsj0/transcrp/dots/si_tr_s/01r/01ro0300.dot"
    dots.parent.mkdir(parents=True)
    dots.write_bytes(
        b'The \\"sale\\" of [door_slam] *Holiday\'s* ,COMMA twenty-one hotels . is done .PERIOD (01ro0301)\r\n'
    )
    (root / "11-1.1/wsj0/si_tr_s/01r/01ro0300.ptx").write_text("The prompt alone. (01ro0301 870108.1.1)\n")
    (root / "13-1.1/WSJ1/SI_TR_S/4A0/4A0A0100.PTX").write_text('He said, "Yes." (4A0A0101 870108.1.1)\n')
    (root / "trans").mkdir()
    (root / "trans/dev.dot").write_text("A dev sentence (4k0c0301)\nAnother (050c0101)\n")
    (root / "trans/test.dot").write_text("A <test> sen:tence~ (440c0401)\n")
    return root


def stored(data, name, split, key="targets"):
    dataset = Dataset.open(data, name)
    found = {}
    for batch in dataset.batches(split, HParams(batch_tokens=100_000)):
        for row, index in enumerate(batch["index"].numpy()):
            found[int(index)] = {k: v.numpy()[row] for k, v in batch.items()}
    rows = [found[index] for index in sorted(found)]
    return rows, [dataset.vocabularies["subwords"].decode(row[key]) for row in rows]


SAID = {
    "train": ["the sale of holiday's comma twenty-one hotels is done period", "he said yes"],
    "dev": ["a dev sentence"],
    "test": ["a test sentence"],
}


class TestSpeechWsj:
    def test_discs_of_the_ldc(self, tmp_path, capsys):
        generate(["speech_wsj"], tmp_path / "data", discs(tmp_path / "raw"), num_workers=1)
        for split, texts in SAID.items():
            rows, found = stored(tmp_path / "data", "speech_wsj", split)
            assert found == texts
            for row in rows:
                size = row["inputs_length"]
                np.testing.assert_array_equal(np.round(row["inputs"][:size] * 32768), SAMPLES[:size])
        assert [row["inputs_length"] for row in stored(tmp_path / "data", "speech_wsj", "train")[0]] == [1000, 1002]
        assert "1 recordings without transcript, such as 01ro0302, left out" in capsys.readouterr().err

    def test_compressed_sound_goes_through_sph2pipe(self, tmp_path, monkeypatch):
        discs(tmp_path / "raw", coding="pcm,embedded-shorten-v2.00")
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        with pytest.raises(UserError, match=r"01ro0301.wv1: compressed with shorten: install the LDC's sph2pipe"):
            generate(["speech_wsj"], tmp_path / "data", tmp_path / "raw", num_workers=1)
        program = tmp_path / "bin" / "sph2pipe"
        program.parent.mkdir()
        program.write_text(
            f"#!{sys.executable}\n"
            + textwrap.dedent("""\
                import sys, wave
                assert sys.argv[1:3] == ["-f", "wav"]
                with wave.open(sys.stdout.buffer, "wb") as out, open(sys.argv[3], "rb") as sound:
                    samples = sound.read()[1024:]
                    out.setparams((1, 2, 16000, len(samples) // 2, "NONE", ""))
                    out.writeframesraw(samples)
                """)
        )
        program.chmod(0o755)
        generate(["speech_wsj"], tmp_path / "data", tmp_path / "raw", num_workers=1)
        rows, found = stored(tmp_path / "data", "speech_wsj", "dev")
        assert found == SAID["dev"]
        np.testing.assert_array_equal(np.round(rows[0]["inputs"][:1000] * 32768), SAMPLES[:1000])
        program.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('bad magic')\n")
        with pytest.raises(UserError, match=r"01ro0301.wv1: sph2pipe cannot read it: bad magic"):
            generate(["speech_wsj"], tmp_path / "more", tmp_path / "raw", num_workers=1)

    def test_folders_of_kaldi(self, tmp_path):
        raw = tmp_path / "raw"
        sphere(raw / "sound" / "a.wv1")
        for split in ("train_si284", "test_dev93", "test_eval92"):
            (raw / split).mkdir()
            file = raw / "sound" / "a.wv1"
            scp = f"u1 /some/where/sph2pipe -f wav {file} |\nu2 ../sound/a.wv1\n"
            (raw / split / "wav.scp").write_text(scp)
            (raw / split / "text").write_text(f"u1 HELLO <NOISE> {split[:4]}\nu2 GOOD ,COMMA BYE\n")
        generate(["speech_wsj"], tmp_path / "data", raw, num_workers=1)
        for split, word in (("train", "trai"), ("dev", "test"), ("test", "test")):
            assert stored(tmp_path / "data", "speech_wsj", split)[1] == [f"hello {word}", "good comma bye"]

    @pytest.mark.parametrize(
        ("line", "message"),
        [
            ("u1 touch /tmp/x; cat a.wav |", r"wav.scp:1: only files and 'sph2pipe ... FILE \|' are read"),
            ("u1 nowhere.wav", r"wav.scp:1: no file '.*nowhere.wav'"),
        ],
    )
    def test_wrong_lines_of_kaldi_are_named(self, tmp_path, line, message):
        (tmp_path / "train").mkdir()
        (tmp_path / "train" / "wav.scp").write_text(line + "\n")
        (tmp_path / "train" / "text").write_text("u1 HELLO\n")
        with pytest.raises(UserError, match=message):
            list(get_problem("speech_wsj").examples("train", tmp_path))

    def test_what_is_missing_is_named(self, tmp_path):
        problem = get_problem("speech_wsj")
        with pytest.raises(UserError, match=r"no folder .*nowhere: expected the LDC's discs"):
            list(problem.examples("train", tmp_path / "nowhere"))
        with pytest.raises(UserError, match=r"no .wv1 file of split 'train' below"):
            list(problem.examples("train", tmp_path))
        sphere(tmp_path / "wsj0" / "si_tr_s" / "x.wv1")
        with pytest.raises(UserError, match=r"split 'train': no .dot, .ptx or text below"):
            list(problem.examples("train", tmp_path))

    @pytest.mark.parametrize(
        ("transcript", "said"),
        [
            ("--DASH \"DOUBLE-QUOTE 'SINGLE-QUOTE %PERCENT -HYPHEN", "dash double-quote single-quote percent hyphen"),
            ("'bout time ~ . the end-user's [loud_breath] lot", "'bout time the end-user's lot"),
            ("Mr\\. <Smith> paid U. S. dollars", "mr smith paid u s dollars"),
        ],
    )
    def test_normalise(self, transcript, said):
        assert normalise(transcript) == said


TREE = "\n( (S \n    (NP-SBJ-1 (NNP {}) )\n    (VP (VBD was) (VP (VBN seen) (NP (-NONE- *-1) )))\n    (. .) ))\n"


def treebank(root, sections, ending="mrg"):
    for section, number in sections:
        path = (
            root
            / "treebank_3"
            / "parsed"
            / "mrg"
            / "wsj"
            / f"{section:02d}"
            / f"wsj_{section:02d}{number:02d}.{ending}"
        )
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TREE.format(f"S{section}") + TREE.format(f"N{number}"))


class TestParsingWsj:
    def test_sections(self, tmp_path):
        treebank(tmp_path / "raw", [(0, 1), (1, 0), (2, 0), (2, 1), (21, 99), (22, 0), (23, 0), (24, 0)])
        treebank(tmp_path / "raw", [(2, 3)], "prd")
        generate(["parsing_wsj"], tmp_path / "data", tmp_path / "raw", num_workers=2)
        numbers = {}
        for split in ("train", "dev", "test"):
            texts = stored(tmp_path / "data", "parsing_wsj", split, "inputs")[1]
            numbers[split] = [text.removesuffix(" was seen .") for text in texts]
            assert set(stored(tmp_path / "data", "parsing_wsj", split)[1]) == {
                "(S (NP NNP )NP (VP VBD (VP VBN )VP )VP . )S"
            }
        assert numbers == {
            "train": ["S2", "N0", "S2", "N1", "S21", "N99"],
            "dev": ["S22", "N0"],
            "test": ["S23", "N0"],
        }

    def test_the_free_sample(self, tmp_path):
        treebank(tmp_path, [(0, 1), (1, 69), (1, 70), (1, 84), (1, 85), (1, 99), (2, 0)])
        problem = get_problem("parsing_treebank_sample")
        found = {split: [path.name for path in problem.files(split, tmp_path)] for split in problem.splits}
        assert found == {
            "train": ["wsj_0001.mrg", "wsj_0169.mrg"],
            "dev": ["wsj_0170.mrg", "wsj_0184.mrg"],
            "test": ["wsj_0185.mrg", "wsj_0199.mrg"],
        }

    def test_missing_files_are_named(self, tmp_path):
        with pytest.raises(UserError, match=r"split 'train': no files below .*treebank_3/parsed/mrg/wsj"):
            list(get_problem("parsing_wsj").examples("train", tmp_path))


@pytest.mark.parametrize("mixture", ["multimodel_eight", "multimodel_eight_free"])
def test_the_eight(mixture):
    problems = get_problems([mixture])
    assert len(problems) == 8
    texts = [f for p in problems.values() for f in (p.inputs, p.targets) if hasattr(f, "vocab")]
    assert {(f.vocab, f.vocab_size) for f in texts} == {("subwords", 8192)}
    assert {problem.command for problem in problems.values()} == {
        *("classify", "to_english", "to_german", "to_french", "to_parse_tree")
    }
