"""What is kept of a run: its folder and its checkpoints, for training, evaluation and decoding alike."""
