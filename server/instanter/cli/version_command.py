"""`instanter version`."""

import typer

from instanter.cli.options import JsonOption


def version(*, as_json: JsonOption = False) -> None:
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
