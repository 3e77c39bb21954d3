"""Replays recorded card transactions through a server, and judges its verdicts."""
