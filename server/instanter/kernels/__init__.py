"""Compiled kernels over plain arrays: no I/O, no protobuf, no Python objects."""
