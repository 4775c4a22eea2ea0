"""`pipeline access`: tokens for the desk."""

from typing import Annotated

import typer
from typer import Argument, Option

from pipeline.cli.options import Json

access = typer.Typer(no_args_is_help=True, help="Who may use the desk.")


@access.command("token")
def make_token(
    name: Annotated[str, Argument(help="Whose it is, as the audit topic is to call them.")],
    role: Annotated[str, Option(help="reader, reviewer or operator.")] = "reviewer",
    json: Json = False,
) -> None:
    """Make a token for a person, and the settings that take it; the token is shown this once."""
    from pydantic import ValidationError

    from pipeline.cli.terminal import console
    from pipeline.config.desk import TokenSettings
    from pipeline.desk.access.people import usable_name
    from pipeline.desk.access.ways import new_token
    from pipeline.model.errors import UsageError

    if usable_name(name) != name or '"' in name or "\\" in name:
        raise UsageError("A name has at most 100 characters, no quotes: give another.")
    token, digest = new_token()
    try:
        setting = TokenSettings.model_validate({"role": role, "sha256": digest})
    except ValidationError:
        raise UsageError(f"There is no role {role!r}: say reader, reviewer or operator.") from None
    table = f'[desk.access.tokens."{name}"]\nrole = "{setting.role}"\nsha256 = "{digest}"'
    if json:
        console.as_json({"name": name, "role": role, "token": token, "sha256": digest})
        return
    console.note(f"For {name}, and nobody else:")
    console.line(token)
    console.note(f'\nFor pipeline.toml, with way = "tokens" under [desk.access]:\n\n{table}')
