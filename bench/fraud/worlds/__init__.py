"""The catalogues that the benchmark assesses by, and the mappings of the data sets."""

from pathlib import Path

from instanter.client import Client

FOLDER = Path(__file__).parent


def read_world(name: str) -> str:
    """Return the YAML of a catalogue."""
    return (FOLDER / f"{name}.yaml").read_text("utf-8")


def apply_world(port: int, name: str) -> None:
    """Publish a catalogue on the server on this machine's port."""
    with Client(f"127.0.0.1:{port}") as client:
        client.apply_catalogue({f"{name}.yaml": read_world(name)})
