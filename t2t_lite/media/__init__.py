"""Picture and sound files: decoding, cropping, drawing."""
