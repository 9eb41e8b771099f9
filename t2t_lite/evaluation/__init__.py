"""Metrics, the evaluation of a model on a split, and the tables of scores."""
