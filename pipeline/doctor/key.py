"""Is there an API key, and is it one?"""

from collections.abc import Iterator

from pipeline.doctor.check import Site
from pipeline.doctor.finding import Finding, failed, ok, warning

KEY = "ANTHROPIC_API_KEY"
TOKEN = "ANTHROPIC_AUTH_TOKEN"  # noqa: S105 - the name of a variable
_ABOUT = "key"
_WRONG_PLACES = (
    "PIPELINE_ANTHROPIC_API_KEY",
    "PIPELINE_API_KEY",
    "PIPELINE_CLAUDE__API_KEY",
    "CLAUDE_API_KEY",
    "ANTHROPIC_KEY",
)
_EXAMPLES = ("...", "your", "xxx", "changeme", "<", "$")
_WHY = "The API would refuse every call; intake would stop, and events would wait."


def check_key(site: Site) -> Iterator[Finding]:
    """Look at the key as a text; what the API says of it is another check."""
    key = site.environment.get(KEY)
    if key:
        yield from _of_key(key)
    elif key is not None and not site.environment.get(TOKEN):
        yield failed(
            _ABOUT, f"{KEY} is empty.", why=_WHY, advice=f"Set {KEY} to a key of the console."
        )
    else:
        yield from _without_key(site)
    if key and site.environment.get(TOKEN):
        yield warning(
            _ABOUT,
            f"{KEY} and {TOKEN} are both set.",
            why="Which of the two is used is the SDK's decision.",
            advice=f"Unset {TOKEN}.",
        )


def _of_key(key: str) -> Iterator[Finding]:
    advice = f"Set {KEY} to the key alone, as the console shows it."
    if key != key.strip() or any(character.isspace() for character in key):
        yield failed(_ABOUT, f"{KEY} has whitespace in it.", why=_WHY, advice=advice)
    elif key[0] in "\"'`" or key[-1] in "\"'`":
        yield failed(
            _ABOUT,
            f"{KEY} has quotes around it.",
            why=f"They are taken for a part of the key. {_WHY}",
            advice=f"{advice} Env files of containers take quotes literally.",
        )
    elif key.lower().startswith(_EXAMPLES):
        yield failed(_ABOUT, f"{KEY} looks like the text of an example.", why=_WHY, advice=advice)
    elif key.startswith("sk-ant-admin"):
        yield failed(
            _ABOUT,
            f"{KEY} is a key of the Admin API.",
            why=f"It may not ask models. {_WHY}",
            advice="Set a key of a workspace.",
        )
    else:
        yield ok(_ABOUT, f"{KEY} is set.")


def _without_key(site: Site) -> Iterator[Finding]:
    astray = [name for name in _WRONG_PLACES if site.environment.get(name)]
    if astray:
        yield failed(
            _ABOUT,
            f"{astray[0]} is set, and {KEY} is not.",
            why=f"The key is read from {KEY} alone. {_WHY}",
            advice=f"Rename the variable to {KEY}.",
        )
    elif site.environment.get(TOKEN):
        yield ok(_ABOUT, f"{TOKEN} is set.")
    else:
        yield warning(
            _ABOUT,
            f"{KEY} is not set.",
            why="Unless the SDK finds other credentials of its own, no call can be made.",
            advice=f"Set {KEY}; or `pipeline local` for a simulated API, which takes any.",
        )
