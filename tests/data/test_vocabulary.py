"""Vocabularies: round trips of any text, sharing between problems, too small sizes, bounded memory."""

import random
import re
import subprocess
import sys

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from t2t_lite import registry
from t2t_lite.data.vocabulary import Vocabulary, vocabulary_path
from t2t_lite.datagen.generate import generate
from t2t_lite.errors import UserError
from t2t_lite.problems import Problem, Text


@pytest.fixture(scope="module")
def vocabularies():
    """One trained on words, one on a single letter, one on spaces of all kinds and with symbols."""
    words = ["the red house", "das rote Haus", "la maison rouge", "123 ▁ 45", "日本の家"] * 20
    spaces = ["a  b   c", "  a", "\ta\u00a0b\u3000", "(NP the (NN house )NN )NP"] * 20
    return [Vocabulary.train(words, 400), Vocabulary.train(["x"], 300), Vocabulary.train(spaces, 330, ["(NP", ")NP"])]


# Every character except surrogates, which have no UTF-8 form; and, more often, characters known to cause trouble.
_ANY = st.characters(exclude_categories=["Cs"])
_ODD = st.sampled_from(
    "\0\1\x1b\x7f\x85\xad \t\n\r\v\f\xa0\u0300\u0301\u200b\u200d\u200e\u202e\u2028\u2029\u2581\u3000"
    "\ufe0f\ufeff\ufffd\uffff🙂👩🏽\U0001f1e9\U0010ffff\U0010fffe01<>/()é日"
)
_WORDS = st.sampled_from(["the", " red", "house ", "Haus", "(NP", ")NP", "</s>", "<pad>", "<unk>", "<0x41>", "日本"])


@settings(max_examples=400, deadline=None, derandomize=True)
@given(st.lists(st.one_of(_ANY, _ODD, _WORDS), max_size=40).map("".join))
@example("")
@example(" ")
@example("  a  ")
@example("\0")
@example("\u2581\U0010ffff0")
@example("e\u0301 \u2028 👩🏽‍🚀\r\n")
@example(" " * 5000 + "x" * 5000)
def test_round_trip_of_any_text(vocabularies, text):
    for vocabulary in vocabularies:
        ids = vocabulary.encode(text)
        assert vocabulary.decode(ids) == text
        assert not {0, 1, 2} & set(ids)  # no special tokens


def test_round_trip_of_every_character(vocabularies):
    rng = random.Random(0)
    every = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
    for text in ["".join(every[start : start + 997]) for start in range(0, len(every), 997)]:
        assert vocabularies[0].decode(vocabularies[0].encode(text)) == text
    for character in [*every[:0x300], *rng.sample(every, 1000)]:
        for text in (character, f" {character} ", f"a{character}b"):
            assert vocabularies[0].decode(vocabularies[0].encode(text)) == text


class TestSharing:
    @pytest.fixture
    def register(self):
        """Registers a problem with a few words."""
        with registry.problems.temporary():

            def register(name, **text):
                class Words(Problem):
                    inputs = targets = Text(vocab="shared", **text)

                    def examples(self, split, raw_dir):
                        return ({"inputs": f"{name} {n}", "targets": f"{n} (NP"} for n in range(50))

                registry.problems.register(Words, name=name)

            yield register

    def test_sizes_must_agree_in_one_call_and_with_stored_problems(self, tmp_path, register):
        register("small", vocab_size=300)
        register("large", vocab_size=400)
        message = "vocabulary 'shared' is declared with different sizes: 300 by 'small', 400 by 'large'"
        with pytest.raises(UserError, match=message):
            generate(["small", "large"], tmp_path, tmp_path, num_workers=1)
        assert not list(tmp_path.iterdir())
        generate(["small"], tmp_path, tmp_path, num_workers=1)
        message = rf"'shared' .* 400 by 'large', 300 by 'small' \(stored in {tmp_path}\)"
        with pytest.raises(UserError, match=message):
            generate(["large"], tmp_path, tmp_path, num_workers=1)

    def test_built_from_all_problems_that_share_it_then_never_changed(self, tmp_path, register, capsys):
        for name in ("apples", "pears"):
            register(name, vocab_size=300)
        register("trees", vocab_size=300, symbols=("(NP", "(VP"))
        generate(["apples", "pears"], tmp_path, tmp_path, num_workers=1)
        vocabulary = Vocabulary.load(vocabulary_path(tmp_path, "shared"))
        assert len(vocabulary.encode("apples")) < 4
        assert len(vocabulary.encode("pears")) < 4
        capsys.readouterr()
        generate(["trees"], tmp_path, tmp_path, num_workers=1)
        message = "vocabulary 'shared': kept as it is, although symbols such as (NP, (VP have no piece of their own"
        assert message in capsys.readouterr().err
        assert Vocabulary.load(vocabulary_path(tmp_path, "shared")).checksum == vocabulary.checksum


class TestTooManyCharacters:
    @pytest.fixture
    def texts(self):
        """900 different characters, the first hundred of them common, and a word."""
        rng = random.Random(0)
        characters = [chr(0x4E00 + n) for n in range(900)]
        lines = ["".join(rng.choices(characters[:100], k=20)) for _ in range(300)]
        return ["house", *lines, *("".join(characters[n : n + 20]) for n in range(0, 900, 20))] * 3

    @pytest.mark.parametrize("size", [261, 262, 300, 500, 1000])
    def test_rare_ones_are_spelled_in_bytes(self, texts, size):
        vocabulary = Vocabulary.train(texts, size, ["(NP"][: size - 261])
        assert vocabulary.size <= size
        assert f"vocab_size={size} is too small for the 905 different characters" in vocabulary.shortage
        for text in [*texts[:50], "any (NP text\n\0 🙂 \u2581"]:
            assert vocabulary.decode(vocabulary.encode(text)) == text
        if size == 500:
            assert sum(len(vocabulary.encode(text)) for text in texts) < 1.3 * sum(map(len, texts))

    def test_the_line_names_a_size_that_holds_them(self, texts):
        size = int(re.findall(r"vocab_size=(\d+) holds", Vocabulary.train(texts, 500).shortage)[0])
        assert not Vocabulary.train(texts, size).shortage

    @pytest.mark.parametrize("size", [1, 259, 260])
    def test_no_room_at_all_is_an_error_that_names_such_a_size(self, texts, size):
        with pytest.raises(UserError, match=rf"vocab_size={size} is too small: .*vocab_size=(\d+) holds") as raised:
            Vocabulary.train(texts, size)
        assert not Vocabulary.train(texts, int(re.findall(r"=(\d+) holds", str(raised.value))[0])).shortage

    def test_datagen_prints_the_line(self, tmp_path, texts, capsys):
        class Characters(Problem):
            inputs = targets = Text(vocab="small", vocab_size=300)

            def examples(self, split, raw_dir):
                return ({"inputs": text, "targets": text} for text in texts)

        with registry.problems.temporary():
            registry.problems.register(Characters)
            generate(["characters"], tmp_path, tmp_path, num_workers=1)
        assert "vocabulary 'small': vocab_size=300 is too small for the 905 different" in capsys.readouterr().err


@pytest.mark.parametrize("nothing", [[], [""], ["\n", "\n\n"]])
def test_no_text_is_an_error(nothing):
    with pytest.raises(UserError, match="no text to build a vocabulary from"):
        Vocabulary.train(nothing, 300)


MEMORY = """
import random, resource, sys
from t2t_lite.datagen.generate import generate
from t2t_lite.problems import Problem, Text
from t2t_lite import registry
from t2t_lite.datagen import generate as module

module._SAMPLE_BYTES //= 20  # because the corpus is small

class Endless(Problem):
    inputs = targets = Text(vocab_size=1000)
    def examples(self, split, raw_dir):
        rng = random.Random(split)
        for n in range(int(sys.argv[2]) if split == "train" else 10):
            words = " ".join(f"w{rng.getrandbits(10)}" for _ in range(8))
            yield {"inputs": words, "targets": words}

registry.problems.register(Endless)
generate(["endless"], sys.argv[1], sys.argv[1], num_workers=1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_corpus(tmp_path):
    used = []
    for number in (40_000, 200_000):
        command = [sys.executable, "-c", MEMORY, str(tmp_path / str(number)), str(number)]
        used.append(int(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
    assert used[1] < used[0] + 25  # MB; the text of 200,000 examples takes three times that
