"""The paper's blocks as Keras layers.

Shapes in the docstrings of this package, modalities/ and models/: B batch, S input positions, T target positions,
D hidden, H heads, E experts, C capacity (positions of the busiest expert), V vocabulary or classes.
"""
