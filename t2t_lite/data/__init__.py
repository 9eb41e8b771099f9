"""Generating records, vocabularies, and reading records back as batches."""
