"""Public image corpora, read through tfds: ImageNet, COCO captions, Imagenette, CIFAR-10, MNIST.

Generation times are estimates for 8 cores without the download, at about 150 photos per second and core.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from t2t_lite import registry
from t2t_lite.problems.features import Image, Label, Text
from t2t_lite.problems.tfds_source import TfdsProblem, tfds_lines


class TfdsImages(TfdsProblem):
    """Image classification."""

    inputs = Image()
    targets: Label = Label()
    command = "classify"

    def examples(self, split: str, raw_dir: Path) -> Iterator[dict[str, Any]]:
        """Yields the bytes of the picture file and the name of the class."""
        for row in self.rows(split, raw_dir):
            yield {"inputs": row["image"], "targets": self.targets.classes[row["label"]]}


@registry.problems.register(name="image_imagenet2012")
class ImageImagenet2012(TfdsImages):
    """A photo to one of 1,000 classes (ImageNet, ILSVRC 2012), named by WordNet synsets such as n01440764.

    Source: https://image-net.org, through tfds `imagenet2012`. 1,281,167 train, 50,000 dev.
    Licence: for research that is not commercial; ask at image-net.org for access.
    Get it: put ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar (144 GB) into --tmp_dir.
    Command: t2t-datagen --problem=image_imagenet2012 --tmp_dir=raw --data_dir=data
    Disk: 144 GB of archives, 155 GB of tfds, about 45 GB of records. Time: hours for tfds, then about half an hour.
    """

    dataset = "imagenet2012"
    shards = 100
    random_flip = True
    inputs = Image(rows=224, columns=224)
    tfds_splits: ClassVar[dict[str, str]] = {"train": "train", "dev": "validation"}

    def resolve(self, raw_dir: Path) -> None:
        """Reads the classes from the list in the package tfds."""
        self.targets = replace(self.targets, classes=tfds_lines("datasets", "imagenet2012", "labels.txt"))


@registry.problems.register(name="image_imagenette")
class ImageImagenette(TfdsImages):
    """A photo to one of ten easy classes of ImageNet (Imagenette, full size, version 2).

    Source: https://github.com/fastai/imagenette, through tfds `imagenette/full-size-v2`. 9,469 train, 3,925 dev.
    Licence: Apache 2.0 for the collection; the photos are ImageNet's.
    Get it: the command downloads it.
    Command: t2t-datagen --problem=image_imagenette --tmp_dir=raw --data_dir=data
    Disk: 1.5 GB downloaded, 1.5 GB of tfds, 0.2 GB of records. Time: a minute.
    """

    dataset = "imagenette/full-size-v2"
    random_flip = True
    inputs = Image(rows=128, columns=128)
    targets = Label(
        classes=(
            *("n01440764", "n02102040", "n02979186", "n03000684", "n03028079"),
            *("n03394916", "n03417042", "n03425413", "n03445777", "n03888257"),
        )
    )
    tfds_splits: ClassVar[dict[str, str]] = {"train": "train", "dev": "validation"}


@registry.problems.register(name="image_cifar10")
class ImageCifar10(TfdsImages):
    """A picture of 32 x 32 pixels to one of ten things (CIFAR-10).

    Source: https://www.cs.toronto.edu/~kriz/cifar.html, through tfds `cifar10`. 50,000 train, 10,000 dev (its test).
    Licence: none is stated; free to use, with a citation of Krizhevsky (2009).
    Get it: the command downloads it.
    Command: t2t-datagen --problem=image_cifar10 --tmp_dir=raw --data_dir=data
    Disk: 170 MB downloaded, 140 MB of tfds, 140 MB of records. Time: under a minute.
    """

    dataset = "cifar10"
    random_flip = True
    targets = Label(
        classes=("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
    )
    tfds_splits: ClassVar[dict[str, str]] = {"train": "train", "dev": "test"}


@registry.problems.register(name="image_mnist")
class ImageMnist(TfdsImages):
    """A handwritten digit of 28 x 28 pixels to its value (MNIST).

    Source: http://yann.lecun.com/exdb/mnist, through tfds `mnist`. 60,000 train, 10,000 dev (its test).
    Licence: CC BY-SA 3.0.
    Get it: the command downloads it.
    Command: t2t-datagen --problem=image_mnist --tmp_dir=raw --data_dir=data
    Disk: 12 MB downloaded, 21 MB of tfds, 25 MB of records. Time: under a minute.
    """

    dataset = "mnist"
    inputs = Image(rows=28, columns=28)
    targets = Label(classes=tuple("0123456789"))
    tfds_splits: ClassVar[dict[str, str]] = {"train": "train", "dev": "test"}


@registry.problems.register(name="caption_coco")
class CaptionCoco(TfdsProblem):
    """A photo to an English caption (COCO 2014 in Karpathy's splits, an example for each of its five captions).

    An evaluation decodes each photo once and scores the answer against its five captions.

    Source: https://cocodataset.org, through tfds `coco_captions`. Photos: 113,287 train (with "restval"), 5,000 dev,
    5,000 test; captions: five times as many.
    Licence: captions CC BY 4.0; the photos are Flickr's, each under a licence of its own.
    Get it: the command downloads it.
    Command: t2t-datagen --problem=caption_coco --tmp_dir=raw --data_dir=data
    Disk: 27 GB downloaded, 20 GB of tfds, about 20 GB of records, since each caption carries its photo.
    Time: a quarter of an hour.
    """

    inputs = Image(rows=224, columns=224)
    targets = Text()
    command = "to_english"
    metrics = ("bleu", "cider_d")
    splits = ("train", "dev", "test")
    shards = 50
    dataset = "coco_captions/2014"
    examples_per_row = 5
    tfds_splits: ClassVar[dict[str, str]] = {"train": "train+restval", "dev": "val", "test": "test"}

    def examples(self, split: str, raw_dir: Path) -> Iterator[dict[str, Any]]:
        """Yields the bytes of the photo file with each of its captions."""
        for row in self.rows(split, raw_dir):
            for caption in row["captions"]["text"]:
                text = " ".join(caption.decode("utf8").split())
                if text:
                    yield {"inputs": row["image"], "targets": text}
