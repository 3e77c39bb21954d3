"""`instanter version`."""

from typing import Annotated

import typer


def version(
    *,
    # Without -o and its settings: a version is shown whatever is wrong with those.
    as_json: Annotated[bool, typer.Option("--json", help="As one JSON object.")] = False,
) -> None:
    """Show the versions of Instanter and its libraries.

    For example:
      instanter version
      instanter version --json
    """
    import platform
    from importlib.metadata import version as find_version

    from instanter.cli.output import print_json

    names = ("instanter", "grpcio", "protobuf", "lmdb", "numba", "numpy", "pyarrow")
    versions = {name: find_version(name) for name in names}
    versions["python"] = platform.python_version()
    if as_json:
        print_json(versions)
        return
    typer.echo(f"instanter {versions.pop('instanter')}")
    for name, found in sorted(versions.items()):
        typer.echo(f"  {name} {found}")
