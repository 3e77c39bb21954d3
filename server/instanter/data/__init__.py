"""Bulk load, schema inference and fitting from files."""
