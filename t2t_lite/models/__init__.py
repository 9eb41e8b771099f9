"""The models, assembled from hparams: the MultiModel, and a plain Transformer to compare it with."""
