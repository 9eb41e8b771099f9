"""The commands: one short file per command, and the code that they share (command.py)."""
