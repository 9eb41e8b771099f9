"""The paper's blocks as Keras layers."""
