"""Microworld: the paper's eight problems on generated data, with nothing to download."""
