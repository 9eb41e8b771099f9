"""Vocabularies: any text comes back, whatever it is made of; problems agree about them, and memory stays bounded."""

import random
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
    """One of words, one that has seen next to nothing, one with brackets of its own and spaces of all kinds."""
    words = ["the red house", "das rote Haus", "la maison rouge", "123 ▁ 45", "日本の家"] * 20
    spaces = ["a  b   c", "  a", "\ta\u00a0b\u3000", "(NP the (NN house )NN )NP"] * 20
    return [Vocabulary.train(words, 400), Vocabulary.train(["x"], 300), Vocabulary.train(spaces, 330, ["(NP", ")NP"])]


# Every character but surrogates, which no UTF-8 has; and, more often than by chance, those that are known for trouble.
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
def test_any_text_comes_back(vocabularies, text):
    for vocabulary in vocabularies:
        ids = vocabulary.encode(text)
        assert vocabulary.decode(ids) == text
        assert not {0, 1, 2} & set(ids)  # what comes back needs no unknown


def test_every_single_character_comes_back(vocabularies):
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
        """Registers a problem of a few words."""
        with registry.problems.temporary():

            def register(name, **text):
                class Words(Problem):
                    inputs = targets = Text(vocab="shared", **text)

                    def examples(self, split, raw_dir):
                        return ({"inputs": f"{name} {n}", "targets": f"{n} (NP"} for n in range(50))

                registry.problems.register(Words, name=name)

            yield register

    def test_sizes_must_agree_in_a_run_and_with_what_is_stored(self, tmp_path, register):
        register("small", vocab_size=300)
        register("large", vocab_size=400)
        told = "vocabulary 'shared' is declared with different sizes: 300 by 'small', 400 by 'large'"
        with pytest.raises(UserError, match=told):
            generate(["small", "large"], tmp_path, tmp_path, num_workers=1)
        assert not list(tmp_path.iterdir())
        generate(["small"], tmp_path, tmp_path, num_workers=1)
        told = rf"'shared' .* 400 by 'large', 300 by 'small' \(stored in {tmp_path}\)"
        with pytest.raises(UserError, match=told):
            generate(["large"], tmp_path, tmp_path, num_workers=1)

    def test_all_who_name_it_are_sampled_and_it_is_frozen(self, tmp_path, register, capsys):
        for name in ("apples", "pears"):
            register(name, vocab_size=300)
        register("trees", vocab_size=300, symbols=("(NP", "(VP"))
        generate(["apples", "pears"], tmp_path, tmp_path, num_workers=1)
        vocabulary = Vocabulary.load(vocabulary_path(tmp_path, "shared"))
        assert len(vocabulary.encode("apples")) < 4
        assert len(vocabulary.encode("pears")) < 4
        capsys.readouterr()
        generate(["trees"], tmp_path, tmp_path, num_workers=1)
        told = "vocabulary 'shared': kept as it is, although symbols such as (NP, (VP have no piece of their own"
        assert told in capsys.readouterr().err
        assert Vocabulary.load(vocabulary_path(tmp_path, "shared")).checksum == vocabulary.checksum


MEMORY = """
import random, resource, sys
from t2t_lite.datagen.generate import generate
from t2t_lite.problems import Problem, Text
from t2t_lite import registry
from t2t_lite.data import generate as module

module._SAMPLE_BYTES //= 20  # and the corpus is that much smaller

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
    assert used[1] < used[0] + 25  # MB; all the text of 200,000 takes three times that
