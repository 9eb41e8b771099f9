"""A trained run in people's hands: the export that plain TensorFlow loads, and its server with a page."""
