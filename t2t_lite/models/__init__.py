"""The models: the MultiModel, assembled from hparams."""
