"""Benchmarks: one module per question; `make bench NAME=decide` answers that of decisions."""
