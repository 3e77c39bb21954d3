"""`instanter config`."""

from typing import Annotated

import typer

from instanter.cli.help_text import add_command
from instanter.cli.options import ConfigOption, JsonOption, OutputOption

config_app = typer.Typer(help="Look at the settings.", no_args_is_help=True, rich_markup_mode=None)


@config_app.callback()
def _group() -> None:
    """Look at the settings."""


def show(
    *,
    origin: Annotated[
        bool, typer.Option("--origin", help="Say where each value came from.")
    ] = False,
    config: ConfigOption = None,
    output: OutputOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show every setting that is in force.

    A flag wins over a variable INSTANTER_<SETTING>, that over --config FILE or
    ./instanter.toml, that over the user's ~/.config/instanter/instanter.toml, that over the
    default. Relative paths in a file are relative to that file.

    For example:
      instanter config show --origin
      INSTANTER_SERVER=db7:7878 instanter config show --json
    """
    import msgspec

    from instanter.cli.configuration import load_settings
    from instanter.cli.output import make_console, make_table, print_json, print_note, show_value

    settings = load_settings({"output": "json" if as_json else output}, config=config)
    values = msgspec.structs.asdict(settings.configuration)
    for variable, near in settings.ignored.items():
        hint = f"; did you mean {near}?" if near else ""
        print_note(f"note: {variable} is no setting and is ignored{hint}")
    if settings.wants_json:
        facts = {
            name: {"value": value, "origin": settings.origins[name]} if origin else value
            for name, value in values.items()
        }
        print_json(facts)
        return
    table = make_table("setting", "value", *(["origin"] if origin else []))
    for name, value in values.items():
        table.add_row(name, show_value(value), *([settings.origins[name]] if origin else []))
    make_console().print(table)


add_command(config_app, show)
