"""The only room that knows LMDB: environment, databases, records, profiles, publications."""
