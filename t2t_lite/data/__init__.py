"""What is stored (records, vocabularies, manifests) and how it is read back as batches."""
