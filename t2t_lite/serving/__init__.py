"""Serving an exported model over HTTP: TensorFlow Serving's REST format, and a page."""
