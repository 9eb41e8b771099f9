"""Parsing the Wall Street Journal part of the Penn Treebank: all of it, or the free sample."""

import re
from pathlib import Path

from t2t_lite import registry
from t2t_lite.errors import UserError
from t2t_lite.problems.files import walk_files
from t2t_lite.problems.parsing import ParsingFromTrees

_FILE = re.compile(r"wsj_(\d\d)(\d\d)\.mrg", re.IGNORECASE)  # section, number


class _Wsj(ParsingFromTrees):
    """Trees of files wsj_SSNN.mrg: section SS, number NN."""

    splits = ("train", "dev", "test")
    expected: str

    def is_in(self, split: str, section: int, number: int) -> bool:
        """Whether a file belongs to a split."""
        raise NotImplementedError

    def files(self, split: str, raw_dir: Path) -> list[Path]:
        """Returns the split's files, in any folder below `raw_dir`; each once."""
        paths: dict[str, Path] = {}
        for path in walk_files(raw_dir) if raw_dir.is_dir() else ():
            match = _FILE.fullmatch(path.name)
            if match and self.is_in(split, int(match[1]), int(match[2])):
                paths.setdefault(path.name.lower(), path)
        if not paths:
            raise UserError(f"problem '{self.name}': split '{split}': no files below {raw_dir}: {self.expected}")
        return [paths[name] for name in sorted(paths)]


@registry.problems.register(name="parsing_wsj")
class ParsingWsj(_Wsj):
    """An English sentence to its tree (Penn Treebank 3, Wall Street Journal).

    Source: LDC99T42, https://catalog.ldc.upenn.edu. Sections 2 to 21 are train (39,832 trees), 22 is dev (1,700), 23
    is test (2,416).
    Licence: the LDC's; for its members, or for a fee. A free stand-in: `parsing_treebank_sample`.
    Get it: copy treebank_3 (parsed/mrg/wsj/00/wsj_0001.mrg and so on) into --tmp_dir, in any folder.
    Command: t2t-datagen --problem=parsing_wsj --tmp_dir=treebank --data_dir=data
    Disk: 60 MB of treebank, 20 MB of records. Time: a minute.
    """

    expected = "expected treebank_3/parsed/mrg/wsj/02/wsj_0200.mrg and so on (LDC99T42)"

    def is_in(self, split: str, section: int, number: int) -> bool:
        """Decides by the section, as usual for this corpus."""
        return section in {"train": range(2, 22), "dev": (22,), "test": (23,)}[split]


@registry.problems.register(name="parsing_treebank_sample")
class ParsingTreebankSample(_Wsj):
    """An English sentence to its tree (NLTK's sample of the Penn Treebank, 3,914 trees).

    Source: the files wsj_0001.mrg to wsj_0199.mrg of the Penn Treebank, https://www.nltk.org/nltk_data. Train is
    numbers 1 to 169, dev 170 to 184, test 185 to 199. Too few trees to learn to parse well from.
    Licence: free for non-commercial use, as its README says.
    Get it: unzip treebank.zip (https://www.nltk.org/nltk_data) in --tmp_dir.
    Command: t2t-datagen --problem=parsing_treebank_sample --tmp_dir=raw --data_dir=data
    Disk: 2 MB downloaded, 7 MB unzipped, 2 MB of records. Time: seconds.
    """

    expected = "expected treebank/combined/wsj_0001.mrg and so on (treebank.zip of https://www.nltk.org/nltk_data)"

    def is_in(self, split: str, section: int, number: int) -> bool:
        """Decides by the number of the file."""
        number += 100 * section
        return number in {"train": range(170), "dev": range(170, 185), "test": range(185, 200)}[split]
