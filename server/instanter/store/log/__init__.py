"""The append-only log: the one truth, of which everything else is a fold."""
