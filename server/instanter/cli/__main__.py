"""`python -m instanter.cli` is the command `instanter`."""

from instanter.cli.main import main

main()
