"""Greedy search, beam search and sampling over the model's one-step function, for files, pipes and terminals."""
