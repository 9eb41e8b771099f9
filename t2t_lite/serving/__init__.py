"""Export of a trained model as a SavedModel, and the HTTP server for it with its web page."""
