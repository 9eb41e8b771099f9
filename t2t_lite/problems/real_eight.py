"""Eight problems on real data out of packages: `python examples/real_eight.py raw` writes the files that they read.

They are the problems for the user's own files, with a split `test`. docs/real-eight.md describes data and licences.
"""

from t2t_lite import registry
from t2t_lite.problems.caption import CaptionFiles
from t2t_lite.problems.image import ImageFolder
from t2t_lite.problems.mixture import Mixture
from t2t_lite.problems.parsing import ParsingFiles
from t2t_lite.problems.speech import SpeechFiles
from t2t_lite.problems.translate import TranslateFiles, TranslateFilesRev

_SPLITS = ("train", "dev", "test")


@registry.problems.register
class RealDeen(TranslateFiles):
    """German to English: LibreOffice's help (examples/real_eight.py)."""

    splits = _SPLITS
    source = "real_ende"


@registry.problems.register
class RealEnde(TranslateFilesRev):
    """English to German: LibreOffice's help (examples/real_eight.py)."""

    splits = _SPLITS
    source = "real_ende"


@registry.problems.register
class RealEnfr(TranslateFiles):
    """English to French: LibreOffice's help (examples/real_eight.py)."""

    splits = _SPLITS
    source = "real_enfr"


@registry.problems.register
class RealFren(TranslateFilesRev):
    """French to English: LibreOffice's help (examples/real_eight.py)."""

    splits = _SPLITS
    source = "real_enfr"


@registry.problems.register
class RealOpenmoji(ImageFolder):
    """A picture of an emoji to its group: OpenMoji, in colour and as outlines (examples/real_eight.py)."""

    splits = _SPLITS
    source = "openmoji"


@registry.problems.register
class RealStamps(CaptionFiles):
    """A picture to its caption: Tux Paint's stamps (examples/real_eight.py)."""

    splits = _SPLITS
    source = "stamps"


@registry.problems.register
class RealRecordings(SpeechFiles):
    """French speech to text: Tux Paint's stamps and Asterisk's prompts (examples/real_eight.py)."""

    splits = _SPLITS
    source = "recordings"
    command = "to_french"


@registry.problems.register
class RealLinkgrammar(ParsingFiles):
    """An English sentence to its tree by the link-grammar parser (examples/real_eight.py)."""

    splits = _SPLITS
    source = "linkgrammar"


registry.mixtures.register(
    Mixture(
        {
            "real_ende": 1.0,
            "real_deen": 1.0,
            "real_enfr": 1.0,
            "real_fren": 1.0,
            "real_openmoji": 1.0,
            "real_stamps": 1.0,
            "real_recordings": 1.0,
            "real_linkgrammar": 1.0,
        },
        "Eight real problems out of packages of Debian and npm (examples/real_eight.py).",
    ),
    name="real_eight",
)
