"""Which value wins, and where it came from."""

import contextlib
import itertools
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from instanter.cli.configuration import Configuration, Settings, load_settings
from instanter.cli.failures import CommandError
from tests.cli.outcomes import Command

SETTINGS = [field.name for field in msgspec.structs.fields(Configuration)]
PLACES = ("flag", "environment", "project file", "user file")


def value_of(name: str, rank: int) -> Any:
    """A value of the right type that tells the place it was written in."""
    match name:
        case "timeout_s":
            return float(rank + 1)
        case "workers" | "log_keep_days" | "log_keep_gib":
            return rank + 1
        case "server_tls":
            return rank % 2 == 0
        case "transport":
            return ("grpcio", "auto")[rank % 2]
        case "output":
            return ("json", "text")[rank % 2]
        case "data_folder" | "server_authority" | "client_certificate" | "client_key":
            return f"/place/{rank}"
        case _ if name.startswith("tls_"):
            return f"/place/{rank}"
        case _:
            return f"place:{rank}"


def write(file: Path, values: dict[str, Any]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{name} = {json.dumps(value)}" for name, value in values.items()]
    file.write_text("\n".join(lines))
    return file


def load(
    tmp_path: Path,
    *,
    flags: dict[str, Any] | None = None,
    environment: dict[str, str] | None = None,
    project: dict[str, Any] | None = None,
    user: dict[str, Any] | None = None,
) -> Settings:
    work = tmp_path / "work"
    if project is not None:
        write(work / "instanter.toml", project)
    if user is not None:
        write(tmp_path / "home" / "instanter" / "instanter.toml", user)
    return load_settings(
        flags or {},
        environment={"XDG_CONFIG_HOME": str(tmp_path / "home"), **(environment or {})},
        folder=work,
    )


@pytest.mark.parametrize("name", SETTINGS)
@pytest.mark.parametrize(
    "places", [c for n in range(5) for c in itertools.combinations(range(4), n)], ids=str
)
def test_the_nearest_place_wins(tmp_path: Path, name: str, places: tuple[int, ...]) -> None:
    given_at = {rank: {name: value_of(name, rank)} for rank in places}
    settings = load(
        tmp_path,
        flags=given_at.get(0),
        environment={
            f"INSTANTER_{key.upper()}": str(value) for key, value in given_at.get(1, {}).items()
        },
        project=given_at.get(2),
        user=given_at.get(3),
    )
    found = getattr(settings.configuration, name)
    if not places:
        assert found == getattr(Configuration(), name)
        assert settings.origins[name] == "default"
        return
    winner = places[0]
    assert found == value_of(name, winner)
    assert (
        settings.origins[name]
        == (
            "command line",
            f"environment INSTANTER_{name.upper()}",
            str(tmp_path / "work" / "instanter.toml"),
            str(tmp_path / "home" / "instanter" / "instanter.toml"),
        )[winner]
    )
    others = set(SETTINGS) - {name}
    assert all(settings.origins[other] == "default" for other in others)


def test_a_user_without_a_home_has_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", refuse)
    settings = load_settings({"listen": "far:2"}, environment={}, folder=tmp_path)
    assert settings.configuration.listen == "far:2"


def test_a_named_file_takes_the_place_of_the_one_in_the_folder(tmp_path: Path) -> None:
    write(tmp_path / "instanter.toml", {"server": "near:1"})
    named = write(tmp_path / "far" / "other.toml", {"listen": "far:2"})
    settings = load_settings({}, config=named, environment={}, folder=tmp_path)
    assert settings.configuration.server == "127.0.0.1:7878"
    assert settings.configuration.listen == "far:2"


def test_paths_in_a_file_are_relative_to_it_and_flags_to_the_working_folder(
    tmp_path: Path,
) -> None:
    settings = load(
        tmp_path, project={"data_folder": "store"}, environment={"INSTANTER_TLS_KEY": "key.pem"}
    )
    assert settings.configuration.data_folder == str(tmp_path / "work" / "store")
    assert settings.configuration.tls_key == "key.pem"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("listn = 'x:1'", "'listn' is not a setting"),
        ("timeout_s = 'long'", "timeout_s: 'long' is not right; Expected `float`, got `str`"),
        ("timeout_s = nan", "timeout_s: nan is not right; Expected `float`"),
        ("timeout_s = 0", "timeout_s: 0 is not right; Expected `float` > 0.0"),
        ("output = 'yaml'", "output: 'yaml' is not right; expected one of text, json"),
        ("listen = ", "is not TOML: Invalid value (at end of document)"),
        ("[serve]\nlisten = 'x:1'", "'serve' is not a setting"),
        ("server = 1\nserver = 2", "is not TOML"),
    ],
)
def test_a_mistake_in_a_file_is_named_with_the_file(
    command: Command, text: str, message: str
) -> None:
    Path("instanter.toml").write_text(text)
    outcome = command("config", "show")
    assert outcome.code == 2
    assert outcome.err.startswith("error: ")
    assert "instanter.toml" in outcome.err
    assert message in outcome.err


def test_an_unknown_key_comes_with_the_nearest_setting(command: Command) -> None:
    Path("instanter.toml").write_text("listn = 'x:1'")
    assert "hint: did you mean 'listen'?" in command("config", "show").err


def test_a_named_file_must_exist(command: Command) -> None:
    outcome = command("config", "show", "--config", "nowhere.toml")
    assert outcome.code == 2
    assert outcome.err == "error: nowhere.toml: there is no such file\n"


def test_a_variable_that_does_not_fit_is_named(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSTANTER_TIMEOUT_S", "soon")
    outcome = command("config", "show")
    assert outcome.code == 2
    assert outcome.err.startswith("error: INSTANTER_TIMEOUT_S: 'soon' is not right; ")


def test_a_variable_that_is_no_setting_is_ignored_aloud(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSTANTER_LISTN", "x:1")
    monkeypatch.setenv("INSTANTER_KERNEL_CACHE", "somewhere")
    outcome = command("config", "show")
    assert outcome.code == 0
    assert outcome.err == (
        "note: INSTANTER_LISTN is no setting and is ignored; did you mean INSTANTER_LISTEN?\n"
    )


@given(st.dictionaries(st.text(max_size=12), st.integers() | st.text(), max_size=4))
def test_whatever_a_file_holds_it_is_taken_or_refused_never_a_crash(
    tmp_path_factory: pytest.TempPathFactory, content: dict[str, Any]
) -> None:
    folder = tmp_path_factory.mktemp("any")
    file = folder / "instanter.toml"
    file.write_text("\n".join(f"{key} = {value!r}" for key, value in content.items()), "utf-8")
    environment = {"XDG_CONFIG_HOME": str(folder / "home")}
    with contextlib.suppress(CommandError):
        load_settings({}, environment=environment, folder=folder)


def test_a_file_that_cannot_be_read_is_told_in_words(command: Command) -> None:
    Path("bytes.toml").write_bytes(b"data\xff")
    for file, told in ((".", "Is a directory"), ("bytes.toml", "byte 4 is not UTF-8")):
        outcome = command("config", "show", "--config", file)
        assert (outcome.code, outcome.err) == (2, f"error: {file}: cannot be read: {told}\n")
