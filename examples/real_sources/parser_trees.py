"""Trees of English sentences by the link-grammar parser, in Penn Treebank brackets.

They are a parser's trees, with its errors. Its parts of speech become tags in the manner of the Penn Treebank.
"""

import hashlib
import os
import re
import shutil
import subprocess

from real_sources import splits
from t2t_lite.errors import UserError
from t2t_lite.problems import trees

PROGRAM = "link-parser"
WANTED = {"train": 5000, "dev": 250, "test": 250}  # trees
_COMMAND = [PROGRAM, "en", "-constituents=3", "-graphics=0", "-verbosity=0", "-echo=1", "-timeout=5", "-limit=20"]
_BATCH = 200  # sentences for one process
_SENTENCE = re.compile(r"[A-Z][A-Za-z0-9 ,;:'/-]*[.?!]")
_WORDS = range(4, 17)  # in a sentence
_END = re.compile(r"(?<=[.?!])\s+(?=[A-Z])")
# link-grammar's marks: {!} behind a word is guessed by its form, {?} unknown; .n-u is its part of speech; {the} is a
# word without links.
_GUESS = re.compile(r"\{[^\w}]+\}")
_PART = re.compile(r"(?<=.)\.([a-z]+)(-[a-z]+)?$")
_PAST = ("v-d", "q-d")
_TAGS = {
    "n": "NN",
    "s": "NN",
    "u": "NN",
    "v": "VB",
    "q": "VB",
    "g": "VBG",
    "a": "JJ",
    "e": "RB",
    "r": "IN",
    "j": "CC",
    "d": "DT",
}
_WORDS_OF_TAG = {
    "DT": "a all an another any both each every no some that the these this those",
    "IN": "about above across after against around as at because before below between by for from if in into like of "
    "off on onto out over than through under unless until up when where whether while with within without",
    "CC": "and but nor or",
    "PRP": "he him it itself she them themselves they we you yourself",
    "PRP$": "his its my our their whose your",
    "RB": "again almost already always anywhere earlier here how instead later otherwise so soon therefore together",
    "JJ": "few less many more most much other same several such",
    "CD": "one two three four five six seven eight nine ten",
    "MD": "cannot",
    "WDT": "what which who",
    "TO": "to",
    "POS": "'s",
}
_TAG_OF_WORD = {word: tag for tag, words in _WORDS_OF_TAG.items() for word in words.split()}


def need_parser() -> str:
    """Returns the version of the parser.

    Raises:
      UserError: it is not installed.
    """
    if shutil.which(PROGRAM) is None:
        raise UserError(
            f"linkgrammar: {PROGRAM} is missing: apt-get install link-grammar; --only leaves this problem out"
        )
    done = subprocess.run([PROGRAM, "--version"], capture_output=True, text=True, env=_environment(), check=False)
    return next((line.removeprefix("Version: ") for line in done.stdout.splitlines() if "ersion" in line), "unknown")


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C.UTF-8"}


def sentences(paragraphs: dict[str, str]) -> tuple[dict[str, list[str]], int]:
    """Takes the plain sentences out of paragraphs; a sentence has the split of its paragraphs.

    Args:
      paragraphs: {text: split}.

    Returns:
      {split: sentences} in an order that a hash decides, and how many are left out as their paragraphs, or those of a
      near-duplicate, are in several splits.
    """
    places: dict[str, set[str]] = {}
    texts: dict[str, str] = {}
    for paragraph, split in sorted(paragraphs.items()):
        for sentence in _END.split(paragraph):
            if _SENTENCE.fullmatch(sentence) and len(sentence.split()) in _WORDS:
                key = splits.normal(sentence)
                places.setdefault(key, set()).add(split)
                texts.setdefault(key, sentence)
    result: dict[str, list[str]] = {split: [] for split in splits.SPLITS}
    for key in sorted(texts, key=lambda key: hashlib.sha256(key.encode()).digest()):
        if len(places[key]) == 1:
            result[next(iter(places[key]))].append(texts[key])
    return result, sum(len(each) > 1 for each in places.values())


def parse(candidates: dict[str, list[str]]) -> tuple[dict[str, list[trees.Tree]], str]:
    """Parses sentences until each split has its number of trees.

    Returns:
      {split: trees}, and a note on what was left out.
    """
    result: dict[str, list[trees.Tree]] = {}
    failed = 0
    for split, texts in candidates.items():
        result[split] = []
        for start in range(0, len(texts), _BATCH):
            if len(result[split]) >= WANTED[split]:
                break
            batch = texts[start : start + _BATCH]
            parsed = list(_run(batch).values())
            failed += len(batch) - len(parsed)
            result[split] += parsed
        result[split] = result[split][: WANTED[split]]
    keys = ((split, [splits.normal(" ".join(tree.words()))]) for split in result for tree in result[split])
    splits.check("linkgrammar", keys)
    return result, f"left out: {failed:,} sentences without a complete tree"


def _run(batch: list[str]) -> dict[str, trees.Tree]:
    """{sentence: tree} of the sentences that the parser can parse whole."""
    done = subprocess.run(
        _COMMAND, input="\n".join(batch) + "\n", capture_output=True, text=True, env=_environment(), check=False
    )
    wanted, parsed, sentence = set(batch), {}, ""
    for line in done.stdout.splitlines():
        if line in wanted:
            sentence = line
        elif line.startswith("(") and sentence and (tree := read_tree(line, sentence)) is not None:
            parsed[sentence] = tree
    if done.returncode and not parsed:
        raise UserError(f"{PROGRAM} failed (status {done.returncode}): {done.stderr.strip()[-200:]}")
    return parsed


def read_tree(line: str, sentence: str) -> trees.Tree | None:
    """Reads the parser's brackets over a sentence.

    None if a word is left out of the tree, if there is no verb phrase, or if the mark at the end is not at the top:
    such a tree is seldom right.
    """
    leaves: list[str] = []
    letters = "".join(sentence.split())

    def leaf(token: str) -> str:
        word = _GUESS.sub("", token)
        part = _PART.search(word)
        text = word[: part.start()] if part else word
        # The parser writes the first word in lower case: the sentence's own letters are taken.
        position = sum(map(len, leaves))
        own = letters[position : position + len(text)]
        if not own or own.casefold() != text.casefold():  # also at a word without links
            raise UserError(f"'{text}' is not the next word of the sentence")
        leaves.append(own)
        return f"({_tag(own, part)} {own})"

    try:
        tree = trees.parse(re.sub(r"(\([A-Z]+)|[^\s()]+", lambda match: match[1] or leaf(match[0]), line))
    except UserError:
        return None
    children = [child for child in tree.children if isinstance(child, trees.Tree)]
    is_whole = "".join(leaves) == letters and children and children[-1].children in ((".",), ("?",), ("!",))
    return tree if is_whole and any(child.label in ("VP", "S") for child in children) else None


def _tag(word: str, part: re.Match[str] | None) -> str:
    """The tag of a word: by the list above, by the parser's part of speech, or by its form."""
    if listed := _TAG_OF_WORD.get(word.lower()):
        return listed
    if not word[-1].isalnum():
        return word if word in (".", ",") else "." if word in "?!" else ":"
    if part:
        return "VBD" if part[0][1:] in _PAST else _TAGS.get(part[1], "NN")
    return (
        "CD"
        if word[0].isdigit()
        else "NNP"
        if word[0].isupper()
        else "RB"
        if word.endswith("ly")
        else trees.UNKNOWN_TAG
    )
