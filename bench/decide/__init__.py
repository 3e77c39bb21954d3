"""What does a decision cost? `make bench NAME=decide`; `bench/README.md` explains each figure."""
