"""A run on disk: its folder, its checkpoints and their averages."""
