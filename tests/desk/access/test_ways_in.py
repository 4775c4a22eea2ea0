"""Every way in, and every way round it."""

import hashlib
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from pipeline.config.desk import AccessSettings
from pipeline.desk.access import open_access, require_way_in
from pipeline.model.errors import UsageError
from tests.desk.access.site import NAVIGATES, SECRET, Browser, Clock, site

TOKEN = "t" * 43
HASH = hashlib.sha256(TOKEN.encode()).hexdigest()
OFF = AccessSettings()


def tokens(role: str = "reviewer", **more: Any) -> AccessSettings:  # noqa: ANN401 - settings
    ada = {"role": role, "sha256": HASH}
    return AccessSettings.model_validate({"way": "tokens", "tokens": {"Ada": ada}, **more})


def proxy(*addresses: str, **more: Any) -> AccessSettings:  # noqa: ANN401 - settings
    table = {"way": "proxy", "proxy": {"addresses": addresses}, "groups": {"support": "reviewer"}}
    return AccessSettings.model_validate(table | more)


async def sign_in(browser: Browser, token: str = TOKEN, **headers: str) -> int:
    form = {"token": token, "next": "/"}
    sent = NAVIGATES | {"Sec-Fetch-Site": "same-origin", "Origin": browser.url} | headers
    async with browser.client.post(browser.url + "/login", data=form, headers=sent) as response:
        return response.status


# Off, on this machine


async def test_without_a_way_in_the_user_of_this_machine_may_do_everything() -> None:
    async with site(OFF) as browser:
        assert await browser.open() == (200, SECRET)
        session = await browser.session()
        assert session["role"] == "operator"
        status, said = await browser.change(session["csrf"])
        assert (status, session["person"] in said) == (200, True)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.1.2.3", "desk.example.com"])
def test_beyond_loopback_it_does_not_start_without_a_way_in_and_says_what_to_set(host: str) -> None:
    with pytest.raises(UsageError, match=r"desk\.access\.way .* desk\.host to 127\.0\.0\.1"):
        open_access(OFF, host)


@pytest.mark.parametrize("url", [None, "http://desk.example.com"])
def test_beyond_loopback_nobody_signs_in_without_tls(url: str | None) -> None:
    with pytest.raises(UsageError, match=r"desk\.access\.url to its https://"):
        require_way_in(tokens(url=url), "0.0.0.0")
    require_way_in(tokens(url="https://desk.example.com"), "0.0.0.0")


async def test_what_a_proxy_sends_on_is_not_taken_for_this_machine() -> None:
    async with site(OFF) as browser:
        status, said = await browser.fetch(**{"X-Forwarded-For": "203.0.113.7"})
        assert (status, SECRET in said) == (401, False)
        assert "desk.access.way" in said


# Other sites


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
    ids=["origin", "null", "cross-site", "same-site"],
)
async def test_another_sites_page_changes_nothing_even_with_the_right_token(
    headers: dict[str, str],
) -> None:
    async with site(OFF) as browser:
        csrf = (await browser.session())["csrf"]
        assert (await browser.change(csrf))[0] == 200
        assert (await browser.change(csrf, **headers))[0] == 403


async def test_another_sites_script_reads_nothing_and_its_link_leads_here() -> None:
    async with site(OFF) as browser:
        status, said = await browser.fetch(**{"Sec-Fetch-Site": "cross-site"})
        assert (status, SECRET in said) == (403, False)
        assert (await browser.open(**{"Sec-Fetch-Site": "cross-site"}))[0] == 200


@pytest.mark.parametrize("csrf", [None, "", "guessed"])
async def test_a_change_without_the_token_of_the_session_is_refused(csrf: str | None) -> None:
    async with site(OFF) as browser:
        assert (await browser.change(csrf))[0] == 403


# Tokens


async def test_who_has_a_token_signs_in_and_changes_something_in_their_name() -> None:
    async with site(tokens()) as browser:
        assert await sign_in(browser) == 200
        session = await browser.session()
        assert (session["person"], session["role"]) == ("Ada", "reviewer")
        assert await browser.change(session["csrf"]) == (200, '{"by": "Ada"}')


@pytest.mark.parametrize("cookie", [None, "", "guessed"])
async def test_nothing_of_an_event_reaches_anybody_without_a_session(cookie: str | None) -> None:
    async with site(tokens()) as browser:
        sent = {} if cookie is None else {"Cookie": f"desk={cookie}"}
        status, said = await browser.fetch(**sent)
        assert (status, SECRET in said) == (401, False)
        status, said = await browser.open("/?case=0:7", **sent)
        assert (SECRET in said, 'name="token"' in said) == (False, True)
        assert "/?case=0:7" in said  # where they go on to
        assert (await browser.change("", **sent))[0] == 401


@pytest.mark.parametrize("token", ["", "guessed", HASH])
async def test_a_wrong_token_signs_nobody_in(token: str) -> None:
    async with site(tokens()) as browser:
        assert await sign_in(browser, token) == 403
        assert (await browser.fetch())[0] == 401


async def test_nobody_is_signed_in_from_another_sites_page() -> None:
    async with site(tokens()) as browser:
        assert await sign_in(browser, Origin="https://evil.example") == 403


async def test_a_reader_reads_and_gives_no_verdict() -> None:
    async with site(tokens("reader")) as browser:
        await sign_in(browser)
        assert (await browser.fetch())[0] == 200
        status, said = await browser.change((await browser.session())["csrf"])
        assert (status, "needs the role reviewer" in said) == (403, True)


async def test_a_form_of_an_earlier_session_cannot_be_sent_again() -> None:
    async with site(tokens()) as browser:
        await sign_in(browser)
        old = (await browser.session())["csrf"]
        await sign_in(browser)
        assert (await browser.change(old))[0] == 403
        assert (await browser.change((await browser.session())["csrf"]))[0] == 200


async def test_a_session_that_was_signed_out_of_is_gone_even_for_who_kept_its_cookie() -> None:
    async with site(tokens()) as browser:
        await sign_in(browser)
        kept = browser.client.cookie_jar.filter_cookies(URL(browser.url))["desk"].value
        csrf = (await browser.session())["csrf"]
        sent = {"X-CSRF-Token": csrf, "Origin": browser.url}
        async with browser.client.post(browser.url + "/logout", headers=sent) as response:
            assert response.status == 204
        assert (await browser.fetch(Cookie=f"desk={kept}"))[0] == 401


async def test_a_session_ends_when_nothing_is_done_whatever_its_page_asks_by_itself() -> None:
    clock = Clock()
    async with site(tokens(idle_timeout=600, session_timeout=3600), clock=clock) as browser:
        await sign_in(browser)
        clock.now += 599
        assert (await browser.fetch())[0] == 200
        clock.now += 599
        assert (await browser.fetch(**{"X-Desk-Background": "1"}))[0] == 200
        clock.now += 2
        assert (await browser.fetch())[0] == 401


async def test_a_session_ends_after_its_time_however_busy_it_is() -> None:
    clock = Clock()
    async with site(tokens(idle_timeout=600, session_timeout=1000), clock=clock) as browser:
        await sign_in(browser)
        clock.now += 500
        assert (await browser.fetch())[0] == 200
        clock.now += 500
        assert (await browser.fetch())[0] == 401


async def test_cookies_are_kept_from_scripts_other_sites_and_plain_connections() -> None:
    async with site(tokens(url="https://desk.example.com")) as browser:
        sent = {"Origin": "https://desk.example.com"}
        async with browser.client.post(
            browser.url + "/login", data={"token": TOKEN}, headers=sent, allow_redirects=False
        ) as response:
            cookie = response.headers.getall("Set-Cookie")[-1]
    assert cookie.startswith("__Host-desk=")
    for attribute in ("HttpOnly", "Secure", "SameSite=Strict", "Path=/"):
        assert attribute in cookie
    assert "Domain" not in cookie


async def test_a_link_on_another_site_finds_the_session_by_a_page_in_between() -> None:
    async with site(tokens()) as browser:
        status, said = await browser.open("/?case=0:7", **{"Sec-Fetch-Site": "cross-site"})
        assert (status, SECRET in said) == (200, False)
        assert 'content="0;url=/?case=0:7"' in said


@pytest.mark.parametrize(
    "onward", ["https://evil.example", "//evil.example", "/\\evil.example", "x\r\ny", ""]
)
async def test_signing_in_leads_to_no_other_site(onward: str) -> None:
    async with site(tokens()) as browser:
        form = {"token": TOKEN, "next": onward}
        async with browser.client.post(
            browser.url + "/login", data=form, allow_redirects=False
        ) as response:
            assert response.headers["Location"] == "/"


async def test_a_program_sends_its_token_along_and_needs_no_session() -> None:
    async with site(tokens()) as browser:
        assert (await browser.change(Authorization=f"Bearer {TOKEN}"))[0] == 200
        assert (await browser.change(Authorization="Bearer guessed"))[0] == 401


def test_a_token_in_a_file_that_could_be_guessed_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "token"
    table = {"way": "tokens", "tokens": {"Ada": {"role": "reader", "file": str(file)}}}
    file.write_text("secret\n")
    with pytest.raises(UsageError, match="could be guessed"):
        open_access(AccessSettings.model_validate(table), "127.0.0.1")
    file.write_text(f"{TOKEN}\n")
    open_access(AccessSettings.model_validate(table), "127.0.0.1")


# A proxy


async def test_whom_the_proxy_names_has_the_role_of_their_group() -> None:
    named = {"X-Forwarded-User": "ada", "X-Forwarded-Groups": "staff, support"}
    async with site(proxy("127.0.0.0/8", "::1")) as browser:
        session = await browser.session(**named)
        assert (session["person"], session["role"]) == ("ada", "reviewer")
        assert await browser.change(session["csrf"], **named) == (200, '{"by": "ada"}')


async def test_headers_from_elsewhere_than_the_proxy_are_worth_nothing() -> None:
    forged = {"X-Forwarded-User": "ada", "X-Forwarded-Groups": "support",
              "X-Forwarded-For": "10.0.0.1"}  # fmt: skip
    async with site(proxy("10.0.0.1", "192.168.0.0/16")) as browser:
        for status, said in [await browser.fetch(**forged), await browser.open(**forged)]:
            assert (status, SECRET in said) == (401, False)


@pytest.mark.parametrize("name", ["", "  ", "a" * 101, "a\tb", "a\N{RIGHT-TO-LEFT OVERRIDE}b"])
async def test_a_proxy_that_names_nobody_lets_nobody_in(name: str) -> None:
    async with site(proxy("127.0.0.1", everyone="reader")) as browser:
        assert (await browser.fetch())[0] == 401
        assert (await browser.fetch(**{"X-Forwarded-User": name}))[0] == 401


async def test_a_second_name_beside_the_proxys_own_lets_nobody_in() -> None:
    async with site(proxy("127.0.0.1", everyone="reader")) as browser:
        headers = [("X-Forwarded-User", "boss"), ("X-Forwarded-User", "ada")]
        async with browser.client.get(browser.url + "/api/cases", headers=headers) as response:
            assert response.status == 401


async def test_who_has_no_role_sees_nothing_and_reads_why() -> None:
    named = {"X-Forwarded-User": "bob", "X-Forwarded-Groups": "sales"}
    async with site(proxy("127.0.0.1")) as browser:
        status, said = await browser.fetch(**named)
        assert (status, SECRET in said) == (403, False)
        assert "bob" in said
        assert "desk.access.people" in said


async def test_the_token_of_one_person_is_of_no_use_to_another() -> None:
    ada, eve = {"X-Forwarded-User": "ada"}, {"X-Forwarded-User": "eve"}
    async with site(proxy("127.0.0.1", everyone="reviewer")) as browser:
        csrf = (await browser.session(**eve))["csrf"]
        assert (await browser.change(csrf, **ada))[0] == 403


# Settings


@pytest.mark.parametrize(
    ("table", "named"),
    [
        ({"way": "oidc", "everyone": "reader"}, "url and oidc.issuer and oidc.client_id"),
        ({"way": "proxy", "everyone": "reader"}, "proxy.addresses"),
        ({"way": "proxy", "proxy": {"addresses": ["10.0.0.1"]}}, "nobody has a role"),
        ({"way": "tokens"}, "pipeline access token"),
        ({"oidc": {"issuer": "http://login.example.com"}}, "issuer"),
        ({"url": "https://desk.example.com/path"}, "url"),
        ({"tokens": {"Ada": {"role": "reader"}}}, "one of sha256 and file"),
    ],
)
def test_settings_that_let_nobody_or_everybody_in_are_refused(
    table: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValueError, match=named):
        AccessSettings.model_validate(table)
