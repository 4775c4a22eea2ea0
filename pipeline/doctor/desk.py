"""Who may use the desk: whether the settings let the right people in, and nobody else."""

from collections.abc import AsyncIterator

from pipeline.config.desk import AccessSettings
from pipeline.desk.access import require_way_in
from pipeline.desk.access.ways import TokenList
from pipeline.doctor.examination import Finding, Site, failed, ok, warning
from pipeline.doctor.installation import is_installed
from pipeline.model.errors import PipelineError, UsageError

_WIDE = {4: 16, 6: 48}
"""Bits of a network's prefix below which it holds more than one company's proxies."""
_WHERE = "docs/ACCESS.md has it for Entra, Okta, Keycloak and oauth2-proxy."


async def check_desk(site: Site) -> AsyncIterator[Finding]:
    """Finds a desk that anybody could reach, a provider that cannot be asked or is not fit, tokens
    that cannot be read, a proxy of too many addresses.
    """
    desk, access = site.settings.desk, site.settings.desk.access
    try:
        require_way_in(access, desk.host)
        if access.way == "tokens":
            TokenList(access.tokens)
    except UsageError as error:
        yield failed(str(error), why="The desk does not start.", advice=_WHERE)
        return
    match access.way:
        case "off":
            yield ok(f"The desk is for the user of this machine, on {desk.host}:{desk.port}.")
        case "tokens":
            yield ok(f"People come to the desk by {len(access.tokens)} tokens.")
        case "proxy":
            yield _of_proxy(access)
        case "oidc":
            yield await _of_provider(access)


def _of_proxy(access: AccessSettings) -> Finding:
    wide = [each for each in access.proxy.addresses if each.prefixlen < _WIDE[each.version]]
    header = access.proxy.user_header
    if wide:
        return warning(
            f"The header {header} is believed from all of {wide[0]}.",
            why="Whoever has one of these addresses can be anybody on the desk.",
            advice="Set desk.access.proxy.addresses to those of the proxy alone.",
        )
    places = ", ".join(map(str, access.proxy.addresses))
    return ok(f"People come to the desk by the header {header} of {places}.")


async def _of_provider(access: AccessSettings) -> Finding:
    if not is_installed("joserfc"):
        return warning(
            "The provider was not asked, since joserfc is not installed.",
            why="The desk does not start without it.",
            advice="`pip install 'haiku-pipeline[desk]'`.",
        )
    from pipeline.desk.access.oidc import OpenIdProvider

    try:
        await OpenIdProvider(access.oidc, access.redirect_uri).check()
    except PipelineError as error:
        return failed(str(error), why="Nobody can sign in to the desk.", advice=_WHERE)
    return ok(
        f"{access.oidc.issuer} answers; {access.redirect_uri} has to be registered there as the "
        f"redirect address of the client {access.oidc.client_id}."
    )
