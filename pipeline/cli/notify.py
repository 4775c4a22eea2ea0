"""`pipeline notify`: what the webhooks of `[notifications]` do with a message."""

from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument

from pipeline.cli.options import Json, Strings

if TYPE_CHECKING:
    from pipeline.notify.webhooks import Webhook

notify = typer.Typer(no_args_is_help=True, help="Notifications by webhook.")


@notify.command("test")
def send_test(
    webhooks: Annotated[Strings, Argument(help="By name; all if none.")] = None, json: Json = False
) -> None:
    """Send a test to the webhooks of the settings, or to some by name, whatever the hour."""
    from pipeline.cli.terminal import console, load_settings, output
    from pipeline.model.errors import UsageError
    from pipeline.model.records import now
    from pipeline.notify.schedule import Notification
    from pipeline.notify.watcher import webhooks_of
    from pipeline.notify.webhooks import NotDelivered

    known = {each.name: each for each in webhooks_of(load_settings().notifications)}
    if not known:
        raise UsageError(
            "There is no webhook: set notifications.webhooks.NAME.url; docs/NOTIFICATIONS.md has "
            "it for Slack and Teams."
        )
    if unknown := [name for name in webhooks or () if name not in known]:
        raise UsageError(f"There is no webhook {unknown[0]!r}: name one of {', '.join(known)}.")
    at = now()
    test = Notification("test", "haiku-pipeline can reach you", "Sent by hand.", at, at)

    async def send(webhook: "Webhook") -> str | None:
        try:
            await webhook.send(test)
        except NotDelivered as error:
            return str(error)
        return None

    async def send_all() -> dict[str, str | None]:
        return {name: await send(known[name]) for name in webhooks or known}

    found = console.run(send_all())
    output(
        [
            {"webhook": name, "delivered": because is None, "because": because}
            for name, because in found.items()
        ],
        [because or f"{name}: delivered." for name, because in found.items()],
        json=json,
    )
    if any(found.values()):
        raise typer.Exit(console.FAILED)
