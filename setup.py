"""Packaging. Versions that must match each other or that change results are pinned; the rest have a lower bound."""

import re
from pathlib import Path

from setuptools import find_packages, setup

HERE = Path(__file__).parent
VERSION = re.search(r'__version__ = "(.+)"', (HERE / "t2t_lite" / "__init__.py").read_text(encoding="utf8"))
assert VERSION is not None

COMMANDS = {
    "t2t-datagen": "datagen",
    "t2t-inspect": "inspect",
    "t2t-trainer": "trainer",
    "t2t-eval": "eval",
    "t2t-decoder": "decoder",
    "t2t-exporter": "exporter",
    "t2t-avg-all": "avg_all",
    "t2t-bleu": "bleu",
    "t2t-server": "server",
    "t2t-experiments": "experiments",
}

BEAM = "apache-beam>=2.77,<3"
TABLES = "pyarrow>=16"  # Parquet files and Hugging Face's datasets

setup(
    name="t2t_lite",
    version=VERSION.group(1),
    description="One model to learn them all: a small multi-task framework on TensorFlow",
    long_description=(HERE / "README.md").read_text(encoding="utf8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    packages=find_packages(include=["t2t_lite", "t2t_lite.*"]),
    package_data={"t2t_lite": ["serving/page/*", "report/*.html", "report/*.css", "demo_model/*", "demo_model/*/*"]},
    python_requires=">=3.10,<3.14",
    install_requires=[
        "tensorflow==2.21.*",
        "tensorflow-text==2.21.*",  # must have TensorFlow's minor version: it is built against its ABI
        "keras>=3.12,<4",  # 3.12 is the last for Python 3.10
        "tensorboard>=2.20",  # tf.summary.scalar lives there
        "tensorflow-datasets>=4.9.10",
        "gin-config==0.5.0",
        "absl-py>=2.1",
        "sentencepiece>=0.2.0,<0.3",
        "google-crc32c>=1.6",  # the checksums of TFRecord files, in processes that go without TensorFlow
        "sacrebleu>=2.4,<3",  # a BLEU score is only comparable within a major version
        "jiwer>=4.0,<5",
        "rich>=13",
        "pillow>=10",
        "soundfile>=0.12",  # its wheels bring libsndfile: WAV, FLAC, SPHERE
        "numpy>=1.26",
        "pyyaml>=6",  # table.yaml
        "starlette>=1.0,<2",
        "uvicorn>=0.30,<1",
        "prometheus-client>=0.20,<1",
        # tensorflow-metadata's own bound, for which pip 23 of Python 3.10 would search for hours.
        'protobuf>=6.31.1,<=6.32; python_version < "3.11"',
    ],
    extras_require={
        "beam": [BEAM],
        "tables": [TABLES],
        "speech": [
            "pydub>=0.25",  # with which tfds reads speech corpora
            'audioop-lts>=0.2; python_version >= "3.13"',  # pydub imports audioop, which Python 3.13 dropped
        ],
        "bench": ["ctranslate2>=4.5,<5"],  # a reference of benchmarks/decoding.py
        "dev": [
            "selenium>=4.20,<5",  # drives Debian's Chromium where that is installed
            "pytest>=8",
            "pytest-xdist>=3.6",
            "hypothesis>=6",
            "ruff",
            "mypy",
            "scikit-learn>=1.5",
            BEAM,
            TABLES,
            "django==5.2.19",  # its translations are data of a test
        ],
    },
    entry_points={"console_scripts": [f"{name}=t2t_lite.bin.{module}:main" for name, module in COMMANDS.items()]},
)
