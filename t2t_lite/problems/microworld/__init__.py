"""Microworld: the eight problems of the paper in a small procedural world, with nothing to download."""
