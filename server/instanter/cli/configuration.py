"""Settings: a flag wins over INSTANTER_*, over a file, over the user's file, over the default.

The files are TOML, one key a setting, and a key that is no setting is refused. Relative paths in
a file are relative to that file; in flags and variables, to the working folder.
"""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args, get_origin

import msgspec

from instanter.cli.failures import EXIT_USAGE, CommandError
from instanter.errors import nearest
from instanter.limits import WORKERS_MAX

FILE_NAME: Final = "instanter.toml"
PREFIX: Final = "INSTANTER_"

NOT_SETTINGS: Final = frozenset(
    {"INSTANTER_CONFIG", "INSTANTER_DATA", "INSTANTER_DEBUG", "INSTANTER_KERNEL_CACHE"}
)
"""Variables with our prefix that mean something else, so they are not taken for misspellings."""


class Configuration(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of the command.

    Attributes
    ----------
    data_folder
        Folder of the store.
    listen
        Address and port that `serve` listens on; port 0 takes any free one.
    metrics
        Address and port of the Prometheus metrics; empty for none.
    transport
        Front of the server: `fast` speaks HTTP/2 itself, `grpcio` is the reference, `auto`
        takes the one that this release recommends: `fast`.
    workers
        Processes that decide beside the one that writes; 0 when that one serves the port itself,
        which is best for two cores.
    log_keep_days, log_keep_gib
        How old the log's records may get that the store does not need any more, and how large the
        whole log: what is older or too much goes, the oldest first. Outcomes are attributed, waits
        end and decisions are explained for as long as the log has them.
    tls_certificate, tls_key
        PEM files that the server shows to its callers; empty for plain text.
    tls_client_authority
        PEM file of the authority that callers' certificates must come from; empty for any caller.
    server
        Server that the commands ask.
    server_tls
        Encrypt the connection to it, trusting the machine's authorities.
    server_authority
        PEM file of the only authority to trust instead; encrypts too.
    client_certificate, client_key
        PEM files that the commands show to a server that wants to know who calls.
    timeout_s
        Seconds that a command waits for an answer.
    output
        How results are shown.
    """

    data_folder: str = "instanter-data"
    listen: str = "127.0.0.1:7878"
    metrics: str = ""
    transport: Literal["auto", "fast", "grpcio"] = "auto"
    workers: Annotated[int, msgspec.Meta(ge=0, le=WORKERS_MAX)] = 0
    log_keep_days: Annotated[int, msgspec.Meta(ge=1, le=3_650)] = 30
    log_keep_gib: Annotated[int, msgspec.Meta(ge=1, le=1 << 20)] = 16
    tls_certificate: str = ""
    tls_key: str = ""
    tls_client_authority: str = ""
    server: str = "127.0.0.1:7878"
    server_tls: bool = False
    server_authority: str = ""
    client_certificate: str = ""
    client_key: str = ""
    timeout_s: Annotated[float, msgspec.Meta(gt=0, le=86_400)] = 10.0
    output: Literal["text", "json"] = "text"


_PATHS: Final = frozenset(
    {
        "data_folder",
        "tls_certificate",
        "tls_key",
        "tls_client_authority",
        "server_authority",
        "client_certificate",
        "client_key",
    }
)

_FLAGS: Final = {"data_folder": "--data", "timeout_s": "--timeout"}
"""Flags that are not called as their setting."""

_FIELDS: Final = {field.name: field for field in msgspec.structs.fields(Configuration)}


class Settings(msgspec.Struct, frozen=True):
    """The settings in force, and where each came from.

    Attributes
    ----------
    configuration
        The values.
    origins
        By setting: `default`, a file's path, `environment INSTANTER_…`, or `command line`.
    ignored
        Variables with our prefix that are no setting, with the nearest setting's variable or an
        empty text. They are not refused, because Kubernetes sets INSTANTER_SERVICE_HOST and its
        like for every container beside a service of that name.
    """

    configuration: Configuration
    origins: dict[str, str]
    ignored: dict[str, str]

    @property
    def wants_json(self) -> bool:
        """Whether results are shown as JSON."""
        return self.configuration.output == "json"


def load_settings(
    flags: Mapping[str, object],
    *,
    config: Path | None = None,
    environment: Mapping[str, str] | None = None,
    folder: Path | None = None,
) -> Settings:
    """Find every setting's value and origin.

    Parameters
    ----------
    flags
        Values of the command line by setting; None where the flag was not given.
    config
        File that takes the place of `instanter.toml` in the working folder.
    environment, folder
        Take the place of the process's own, for tests.

    Raises
    ------
    CommandError
        With exit code 2, for a file that cannot be read, a key that is no setting, and a value
        that does not fit.
    """
    environment = os.environ if environment is None else environment
    folder = Path.cwd() if folder is None else folder
    found: dict[str, Any] = {}
    origins = dict.fromkeys(_FIELDS, "default")
    for file, required in (
        (_find_user_file(environment), False),
        (config or folder / FILE_NAME, config is not None),
    ):
        for name, value in _read_file(file, required=required).items():
            found[name], origins[name] = value, str(file)
    for name in _FIELDS:
        variable = PREFIX + name.upper()
        if variable in environment:
            found[name] = _convert(name, environment[variable], variable, strict=False)
            origins[name] = f"environment {variable}"
    for name, value in flags.items():
        assert name in _FIELDS, f"{name} is no setting"
        if value is not None:
            text = str(value) if isinstance(value, Path) else value
            flag = _FLAGS.get(name) or f"--{name.replace('_', '-')}"
            found[name] = _convert(name, text, flag, strict=True)
            origins[name] = "command line"
    return Settings(Configuration(**found), origins, _find_ignored(environment))


def _find_user_file(environment: Mapping[str, str]) -> Path:
    home = environment.get("XDG_CONFIG_HOME")
    try:
        folder = Path(home) if home else Path.home() / ".config"
    except RuntimeError:
        # The user of a container, who is in no table of users, has the root for a home.
        folder = Path("/.config")
    return folder / "instanter" / FILE_NAME


def _read_file(file: Path, *, required: bool) -> dict[str, Any]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        if not required:
            return {}
        raise _refuse(f"{file}: there is no such file") from None
    except OSError as error:
        raise _refuse(f"{file}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise _refuse(f"{file}: cannot be read: byte {error.start:,} is not UTF-8") from error
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _refuse(f"{file}: is not TOML: {error}") from error
    values = {}
    for name, value in table.items():
        if name not in _FIELDS:
            near = nearest(name, _FIELDS)
            hint = f"did you mean '{near}'?" if near else f"settings are {', '.join(_FIELDS)}"
            raise _refuse(f"{file}: '{name}' is not a setting", hint)
        values[name] = _convert(name, value, f"{file}: {name}", strict=True)
        if name in _PATHS and values[name]:
            values[name] = str(file.parent / values[name])
    return values


def _convert(name: str, value: object, place: str, *, strict: bool) -> Any:
    """Return the value as its setting's type; texts of the environment become numbers."""
    try:
        return msgspec.convert(value, _FIELDS[name].type, strict=strict)
    except msgspec.ValidationError as error:
        kind = _FIELDS[name].type
        choices = get_args(kind) if get_origin(kind) is Literal else ()
        expected = f"expected one of {', '.join(choices)}" if choices else str(error)
        raise _refuse(f"{place}: {value!r} is not right; {expected}") from error


def _find_ignored(environment: Mapping[str, str]) -> dict[str, str]:
    known = {PREFIX + name.upper() for name in _FIELDS} | NOT_SETTINGS
    return {
        variable: nearest(variable, known) or ""
        for variable in sorted(environment)
        if variable.startswith(PREFIX) and variable not in known
    }


def _refuse(message: str, hint: str = "") -> CommandError:
    return CommandError(message, hint=hint, exit_code=EXIT_USAGE)
