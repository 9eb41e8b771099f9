"""Decoding: greedy search, beam search and sampling over the model's one-step function; files, pipes, what is typed."""
