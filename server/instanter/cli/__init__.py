"""The command `instanter`."""
