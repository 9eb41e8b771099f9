"""Generating records: raw files to vocabularies, TFRecord shards and a manifest."""
