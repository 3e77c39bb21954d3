"""Replays recorded stock movements through a server, and tells what came of it."""
