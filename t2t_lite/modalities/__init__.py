"""How a kind of data enters and leaves the body: one file a modality."""
