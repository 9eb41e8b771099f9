"""Shows and records the figures of a training run: display, scalars, TensorBoard, sample outputs, profiles."""
