"""What examples/real_eight.py is made of: packages, the data taken out of each, splits and trivial answers."""
