"""What would a user pick instead? `make bench-rivals`; `bench/README.md` says what is fair in it.

Modules that end in `_server` run in a process of their own. `naive_bayes_server` and
`feast_server` run in the rivals' own environment, where nothing of Instanter is installed; so
they, and what they import, import nothing of it.
"""
