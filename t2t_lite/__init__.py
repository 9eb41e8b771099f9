"""t2t_lite: one model to learn them all, that people can run."""

__version__ = "0.1.0"
