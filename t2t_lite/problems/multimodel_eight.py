"""The eight problems of "One Model To Learn Them All" on their real corpora, as mixtures."""

from t2t_lite import registry
from t2t_lite.problems.mixture import Mixture

_SHARED = (
    *("image_imagenet2012", "caption_coco"),
    *("translate_ende_wmt14", "translate_ende_wmt14_rev", "translate_enfr_wmt14", "translate_enfr_wmt14_rev"),
)

registry.mixtures.register(
    Mixture(
        dict.fromkeys((*_SHARED, "speech_wsj", "parsing_wsj"), 1.0),
        "The paper's eight problems on its corpora, with one vocabulary of 8k; speech and trees are the LDC's.",
    ),
    name="multimodel_eight",
)
registry.mixtures.register(
    Mixture(
        dict.fromkeys((*_SHARED, "speech_librispeech", "parsing_treebank_sample"), 1.0),
        "The paper's eight problems on corpora free of charge (ImageNet for research, on request).",
    ),
    name="multimodel_eight_free",
)
