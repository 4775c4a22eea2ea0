"""`[desk]`: where the page is that people work on, and `[desk.access]`: who may use it, as what."""

from ipaddress import IPv4Network, IPv6Network
from pathlib import Path
from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, model_validator

from pipeline.config.tables import Seconds, Section, setting

RoleName = Literal["reader", "reviewer", "operator"]
_HTTPS = r"^https://[^/?#\s]+[^?#\s]*$|^http://(127\.0\.0\.1|localhost|\[::1\])(:\d+)?(/[^?#\s]*)?$"
"""A URL that nobody can listen to: HTTPS, or on this machine."""


class OidcSettings(Section):
    """Signing in at an OpenID provider: the company's single sign-on (extra `desk`)."""

    issuer: str | None = setting(
        None, pattern=_HTTPS, description="URL of the provider, just as its discovery states it"
    )
    client_id: str | None = setting(None, "the desk, as the provider knows it")
    client_secret: SecretStr | None = setting(None, "its secret; a public client has none")
    client_secret_file: Path | None = setting(
        None, "a file with the secret, read again at each sign-in"
    )
    client_auth: Literal["basic", "post"] = setting(
        "basic", "how the secret is sent: in the header Authorization, or in the form"
    )
    scope: str = setting("openid profile email", "what is asked for; some want `groups`, too")
    name_claim: str = setting(
        "email",
        "what people are called in `people` and in the audit topic; `email` counts only with "
        "`email_verified`",
    )
    groups_claim: str = setting(
        "groups", "where groups or roles are; dots lead into tables, as in `realm_access.roles`"
    )
    ca_file: Path | None = setting(
        None, "CA certificates for the provider's TLS; the system's if unset"
    )


class ProxySettings(Section):
    """A proxy in front that signs people in and says in headers who they are."""

    addresses: list[IPv4Network | IPv6Network] = setting(
        [], "addresses or networks (CIDR) of the proxy; its headers count from nowhere else"
    )
    user_header: str = setting("X-Forwarded-User", "has the name")
    groups_header: str = setting("X-Forwarded-Groups", "has the groups, between commas or bars")


class TokenSettings(Section):
    """A token of `[desk.access.tokens]`, by the name of the person who has it.

    `pipeline access token NAME` makes one.
    """

    role: RoleName = Field(description="what it allows")
    sha256: str | None = setting(
        None, pattern="^[0-9a-f]{64}$", description="SHA-256 of the token, in hexadecimal"
    )
    file: Path | None = setting(None, "or a file that has the token itself")

    @model_validator(mode="after")
    def _has_one_of_both(self) -> Self:
        if (self.sha256 is None) == (self.file is None):
            raise ValueError("a token needs one of sha256 and file")
        return self


class AccessSettings(Section):
    """Who may use the desk: [ACCESS.md](ACCESS.md)."""

    way: Literal["off", "oidc", "proxy", "tokens"] = setting(
        "off",
        "how people prove who they are; `off`: not at all, whoever uses this machine is its "
        "user and may do everything, and the desk listens on loopback only",
    )
    url: str | None = setting(
        None,
        pattern=r"^https?://[^/?#\s]+/?$",
        description="what people's browsers call the desk, e.g. https://desk.example.com",
    )
    groups: dict[str, RoleName] = setting({}, "roles by group, as provider or proxy calls it")
    people: dict[str, RoleName] = setting({}, "roles by name; the highest counts")
    everyone: RoleName | None = setting(
        None, "role of whoever signs in and has no other; unset: none, so they see nothing"
    )
    idle_timeout: Seconds = setting(3600, "without anything done, after which a session ends")
    session_timeout: Seconds = setting(
        43_200, "after which a session ends, whatever is done; then roles are looked at again"
    )
    oidc: OidcSettings = OidcSettings()
    proxy: ProxySettings = ProxySettings()
    tokens: dict[str, TokenSettings] = setting({}, "by person: the token and its role")

    @property
    def origin(self) -> str | None:
        """The origin of `url`, as browsers write it in `Origin`."""
        return None if self.url is None else self.url.rstrip("/").lower()

    @property
    def redirect_uri(self) -> str:
        """Where the provider sends people back to: it has to be registered there."""
        return f"{self.origin}/auth/callback"

    @model_validator(mode="after")
    def _says_what_its_way_needs(self) -> Self:
        oidc = self.oidc
        if self.way == "oidc":
            missing = [
                name
                for name, value in (
                    ("url", self.url),
                    ("oidc.issuer", oidc.issuer),
                    ("oidc.client_id", oidc.client_id),
                )
                if value is None
            ]
            if missing:
                raise ValueError(f"way is oidc, and needs {' and '.join(missing)}")
            if oidc.client_secret is not None and oidc.client_secret_file is not None:
                raise ValueError("oidc has client_secret and client_secret_file: set one of them")
        if self.way == "proxy" and not self.proxy.addresses:
            raise ValueError("way is proxy, and needs proxy.addresses: the proxy's own")
        if self.way == "tokens" and not self.tokens:
            raise ValueError("way is tokens, and there are none: `pipeline access token NAME`")
        if self.way in {"oidc", "proxy"} and not (self.groups or self.people or self.everyone):
            raise ValueError("nobody has a role: set groups, people or everyone")
        return self

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach the desk by HTTPS."""
        return self.url is not None and urlsplit(self.url).scheme.lower() == "https"


class DeskSettings(Section):
    """The page on which people settle what neither model could: `pipeline desk`."""

    enabled: bool = setting(
        False, "whether `pipeline run` serves it, too; `pipeline desk` always does"
    )
    host: str = setting(
        "127.0.0.1", "the address that is listened on; beyond loopback with a way in only"
    )
    port: int = setting(8090, "0: a free one", ge=0, le=65535)
    access: AccessSettings = AccessSettings()
