"""Decoding: greedy search over the model's one-step function."""
