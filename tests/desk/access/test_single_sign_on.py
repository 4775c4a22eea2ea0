"""Signing in at an OpenID provider, and answers of it that must not be taken."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from joserfc.jwk import OctKey, RSAKey

from pipeline.config.desk import AccessSettings
from pipeline.desk.access.oidc import OpenIdProvider, ProviderFailed
from tests.desk.access.provider import CLIENT, SECRET, Provider
from tests.desk.access.site import NAVIGATES, Browser, Clock, site
from tests.desk.access.site import SECRET as EVENT


@asynccontextmanager
async def signing_in(
    provider: Provider,
    *,
    now: Callable[[], float] = time.time,
    **oidc: Any,  # noqa: ANN401
) -> AsyncIterator[Browser]:
    """A desk behind the provider."""

    def settings(url: str) -> AccessSettings:
        provider.redirect_uri = f"{url}/auth/callback"
        known = {"issuer": provider.issuer, "client_id": CLIENT, "client_secret": SECRET}
        return AccessSettings.model_validate(
            {"way": "oidc", "url": url, "groups": {"support": "reviewer"}, "oidc": known | oidc}
        )

    async with provider, site(settings, now=now) as browser:
        yield browser


async def answer(browser: Browser) -> str:
    """The address to which the provider sends back, which is not opened yet."""
    async with browser.client.get(browser.url + "/login", allow_redirects=False) as response:
        place = response.headers["Location"]
    async with browser.client.get(place, allow_redirects=False) as response:
        return response.headers["Location"]


async def test_who_signs_in_at_the_provider_has_the_role_of_their_group() -> None:
    async with signing_in(Provider()) as browser:
        status, said = await browser.open("/?case=0:7")
        assert (status, 'content="0;url=/?case=0:7"' in said) == (200, True)
        assert await browser.open("/?case=0:7") == (200, EVENT)
        session = await browser.session()
        assert (session["person"], session["role"]) == ("ada@example.com", "reviewer")
        assert (await browser.change(session["csrf"]))[0] == 200


async def test_who_has_no_group_with_a_role_sees_nothing() -> None:
    async with signing_in(Provider(changes={"groups": ["sales"]})) as browser:
        status, said = await browser.open()
        assert (status, "has no role" in said) == (403, True)
        assert (await browser.fetch())[0] == 401


async def test_groups_and_name_are_asked_for_where_the_token_does_not_have_them() -> None:
    thin = Provider(claims={"sub": "1"})
    thin.userinfo = {"email": "ada@example.com", "email_verified": True, "groups": ["support"]}
    async with signing_in(thin) as browser:
        await browser.open()
        assert (await browser.session())["person"] == "ada@example.com"


async def test_roles_are_found_in_tables_of_the_token() -> None:
    roles = Provider(changes={"realm_access": {"roles": ["support"]}, "groups": None})
    async with signing_in(roles, groups_claim="realm_access.roles") as browser:
        await browser.open()
        assert (await browser.session())["role"] == "reviewer"


async def test_userinfo_about_somebody_else_is_refused() -> None:
    other = Provider(claims={"sub": "1"}, userinfo={"sub": "2", "email": "boss@example.com"})
    async with signing_in(other) as browser:
        assert (await browser.open())[0] == 403


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"iss": "https://evil.example"}, id="another issuer"),
        pytest.param({"iss": None}, id="no issuer"),
        pytest.param({"aud": "another client"}, id="another audience"),
        pytest.param({"aud": [CLIENT, "other"]}, id="an audience of several"),
        pytest.param({"aud": [CLIENT, "other"], "azp": "other"}, id="for another of several"),
        pytest.param({"azp": "other"}, id="another authorized party"),
        pytest.param({"nonce": "of another sign-in"}, id="another nonce"),
        pytest.param({"nonce": None}, id="no nonce"),
        pytest.param({"exp": int(time.time()) - 300}, id="expired"),
        pytest.param({"exp": None}, id="for ever"),
        pytest.param({"iat": int(time.time()) + 3600}, id="of the future"),
        pytest.param({"sub": None}, id="about nobody"),
        pytest.param({"email_verified": False}, id="a mail address of their own choice"),
        pytest.param({"email_verified": None}, id="a mail address nobody vouches for"),
        pytest.param({"email": "a\nb"}, id="a name that cannot be shown"),
    ],
)
async def test_a_token_that_is_not_meant_for_this_sign_in_is_refused(
    changes: dict[str, Any],
) -> None:
    provider = Provider(changes=changes)
    if changes.get("sub", "") is None:
        provider.claims.pop("sub")
    async with signing_in(provider) as browser:
        status, said = await browser.open()
        assert (status, EVENT in said) == (403, False)
        assert (await browser.fetch())[0] == 401


@pytest.mark.parametrize(
    "forge",
    [
        pytest.param({"unsigned": True}, id="alg none"),
        pytest.param(
            {"header": {"alg": "HS256"}, "signs_with": OctKey.import_key(SECRET)},
            id="signed with the client's secret",
        ),
        pytest.param({"signs_with": RSAKey.generate_key(2048)}, id="signed with another key"),
        pytest.param(
            {"header": {"kid": "2"}, "signs_with": RSAKey.generate_key(2048)}, id="an unknown key"
        ),
    ],
)
async def test_a_forged_token_is_refused(forge: dict[str, Any]) -> None:
    async with signing_in(Provider(**forge)) as browser:
        assert (await browser.open())[0] == 403


async def test_forged_tokens_do_not_have_the_provider_asked_for_its_keys_each_time() -> None:
    provider = Provider(header={"kid": "2"}, signs_with=RSAKey.generate_key(2048))
    async with signing_in(provider) as browser:
        for _ in range(5):
            assert (await browser.open())[0] == 403
        assert provider.asked_for_keys == 1


async def test_a_new_key_of_the_provider_is_taken_up() -> None:
    clock = Clock()
    clock.now = time.time()
    provider = Provider()
    async with signing_in(provider, now=clock) as browser:
        await browser.open()
        provider.key = RSAKey.generate_key(2048, {"kid": "2"})
        provider.header = {"kid": "2"}
        clock.now += 61
        browser.client.cookie_jar.clear()
        await browser.open()
        assert (await browser.fetch())[0] == 200


@pytest.mark.parametrize("change", [("state=", "state=x"), ("code=", "code=x")])
async def test_an_answer_with_another_state_or_code_is_refused(change: tuple[str, str]) -> None:
    async with signing_in(Provider()) as browser:
        place = (await answer(browser)).replace(*change)
        async with browser.client.get(place, headers=NAVIGATES) as response:
            assert response.status in {403, 502}
        assert (await browser.fetch())[0] == 401


async def test_an_answer_to_a_sign_in_of_another_browser_is_refused() -> None:
    async with signing_in(Provider()) as browser:
        place = await answer(browser)
        browser.client.cookie_jar.clear()
        async with browser.client.get(place, headers=NAVIGATES) as response:
            assert (response.status, "began elsewhere" in await response.text()) == (403, True)


async def test_an_answer_is_good_once() -> None:
    async with signing_in(Provider()) as browser:
        place = await answer(browser)
        async with browser.client.get(place, headers=NAVIGATES) as response:
            assert response.status == 200
        async with browser.client.get(place, headers=NAVIGATES) as response:
            assert response.status == 403


async def test_who_takes_too_long_at_the_provider_signs_in_again() -> None:
    clock = Clock()
    clock.now = time.time()
    async with signing_in(Provider(), now=clock) as browser:
        place = await answer(browser)
        clock.now += 601
        async with browser.client.get(place, headers=NAVIGATES) as response:
            assert (response.status, "too long" in await response.text()) == (403, True)


async def test_a_refusal_of_the_provider_is_shown_without_any_markup_of_it() -> None:
    async with signing_in(Provider(refuse="<script>")) as browser:
        status, said = await browser.open()
        assert (status, "<script>" in said) == (403, False)


@pytest.mark.parametrize(
    ("discovery", "advice"),
    [
        ({"issuer": "https://evil.example"}, "desk.access.oidc.issuer"),
        ({"token_endpoint": "http://login.example.com/token"}, "HTTPS"),
        ({"code_challenge_methods_supported": ["plain"]}, "PKCE"),
        ({"jwks_uri": None}, "desk.access.oidc.issuer"),
    ],
)
async def test_a_provider_that_is_not_fit_is_refused_with_what_to_do(
    discovery: dict[str, Any], advice: str
) -> None:
    async with Provider(discovery=discovery) as provider:
        settings = AccessSettings.model_validate(
            {"oidc": {"issuer": provider.issuer, "client_id": CLIENT}}
        ).oidc
        with pytest.raises(ProviderFailed, match=advice):
            await OpenIdProvider(settings, "http://127.0.0.1/auth/callback").metadata()


async def test_a_provider_that_is_away_is_said_and_signs_nobody_in() -> None:
    async with signing_in(Provider(), issuer="http://127.0.0.1:1") as browser:
        status, said = await browser.open()
        assert (status, "cannot be reached" in said) == (502, True)


async def test_a_wrong_secret_is_said_and_never_shown() -> None:
    async with signing_in(Provider(), client_secret="wrong-secret") as browser:
        status, said = await browser.open()
        assert (status, "invalid_client" in said, "wrong-secret" in said) == (502, True, False)
