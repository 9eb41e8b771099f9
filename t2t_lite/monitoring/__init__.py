"""What a training run shows and logs: the display, scalars, TensorBoard, profiles."""
