"""Public parallel corpora, read through tfds: WMT 14 and ParaCrawl.

Generation times are estimates for 8 cores without the download, at 5 MB of text per second and core.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

from t2t_lite import registry
from t2t_lite.problems.features import Text
from t2t_lite.problems.tfds_source import TfdsProblem

_COMMANDS = {"en": "to_english", "de": "to_german", "fr": "to_french"}


class TfdsTranslation(TfdsProblem):
    """Translation. A pair with an empty side is skipped.

    Attributes:
      languages: source and target, as codes.
    """

    inputs = Text()
    targets = Text()
    metrics = ("bleu", "chrf")
    splits = ("train", "dev", "test")
    tfds_splits: ClassVar[dict[str, str]] = {"train": "train", "dev": "validation", "test": "test"}
    languages: tuple[str, str]

    def __init__(self, name: str):
        super().__init__(name)
        self.command = _COMMANDS[self.languages[1]]

    def examples(self, split: str, raw_dir: Path) -> Iterator[dict[str, Any]]:
        """Yields the pairs; white space within a sentence becomes single spaces."""
        for row in self.rows(split, raw_dir):
            inputs, targets = (" ".join(row[language].decode("utf8").split()) for language in self.languages)
            if inputs and targets:
                yield {"inputs": inputs, "targets": targets}


@registry.problems.register(name="translate_ende_wmt14")
class TranslateEndeWmt14(TfdsTranslation):
    """English to German (WMT 14: Europarl 7, Common Crawl, News Commentary 9).

    Source: https://www.statmt.org/wmt14, through tfds `wmt14_translate/de-en`. 4,508,785 train; dev newstest2013,
    3,000; test newstest2014, 3,003.
    Licence: free for research, each part under terms of its own (statmt.org has them).
    Get it: the command downloads it.
    Command: t2t-datagen --problem=translate_ende_wmt14,translate_ende_wmt14_rev --tmp_dir=raw --data_dir=data
    Disk: 1.7 GB downloaded, 1.4 GB of tfds, 0.7 GB of records a direction. Time: 2 minutes a direction.
    """

    dataset = "wmt14_translate/de-en"
    languages = ("en", "de")


@registry.problems.register(name="translate_ende_wmt14_rev")
class TranslateEndeWmt14Rev(TranslateEndeWmt14):
    """German to English (WMT 14).

    Source, licence, size and command: `translate_ende_wmt14`.
    """

    languages = ("de", "en")


@registry.problems.register(name="translate_enfr_wmt14")
class TranslateEnfrWmt14(TfdsTranslation):
    """English to French (WMT 14: Europarl 7, Common Crawl, UN, News Commentary 9, Giga-FrEn).

    Source: https://www.statmt.org/wmt14, through tfds `wmt14_translate/fr-en`. 40,836,715 train; dev newstest2013,
    3,000; test newstest2014, 3,003.
    Licence: free for research, each part under terms of its own (statmt.org has them).
    Get it: the command downloads it.
    Command: t2t-datagen --problem=translate_enfr_wmt14,translate_enfr_wmt14_rev --tmp_dir=raw --data_dir=data
    Disk: 6.7 GB downloaded, 15 GB of tfds, 7 GB of records a direction. Time: 15 minutes a direction.
    """

    dataset = "wmt14_translate/fr-en"
    shards = 20
    languages = ("en", "fr")


@registry.problems.register(name="translate_enfr_wmt14_rev")
class TranslateEnfrWmt14Rev(TranslateEnfrWmt14):
    """French to English (WMT 14).

    Source, licence, size and command: `translate_enfr_wmt14`.
    """

    languages = ("fr", "en")


@registry.problems.register(name="translate_ende_para_crawl")
class TranslateEndeParaCrawl(TfdsTranslation):
    """English to German, crawled from the web (ParaCrawl 1.2).

    Source: https://paracrawl.eu, through tfds `para_crawl/ende`. 16,264,448 pairs, of which the first 3,000 are dev,
    the next 3,000 test, the rest train.
    Licence: CC0.
    Get it: the command downloads it.
    Command: t2t-datagen --problem=translate_ende_para_crawl --tmp_dir=raw --data_dir=data
    Disk: 1.3 GB downloaded, 4 GB of tfds, 2 GB of records. Time: 5 minutes.
    """

    dataset = "para_crawl/ende"
    languages = ("en", "de")
    tfds_splits: ClassVar[dict[str, str]] = {"train": "train[6000:]", "dev": "train[:3000]", "test": "train[3000:6000]"}
