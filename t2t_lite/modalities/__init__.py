"""Modality nets: how each kind of data enters and leaves the body; one file per modality."""
