"""Metrics and the evaluator."""
