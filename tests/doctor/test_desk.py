from pathlib import Path
from typing import Any

import pytest

from pipeline.doctor.desk import check_desk
from pipeline.doctor.examination import Verdict, findings
from tests.desk.access.provider import CLIENT, Provider
from tests.doctor.sites import reported, site


def oidc(issuer: str) -> dict[str, Any]:
    provider = {"issuer": issuer, "client_id": CLIENT}
    return {"access": {"way": "oidc", "url": "https://desk.example.com", "oidc": provider,
                       "everyone": "reader"}}  # fmt: skip


async def test_the_desk_of_this_machine_alone_is_fine() -> None:
    (found,) = await findings(check_desk(site()))
    assert found.verdict is Verdict.OK


async def test_a_desk_that_anybody_could_reach_is_reported() -> None:
    found = await findings(check_desk(site(desk={"host": "0.0.0.0"})))
    reported(found, Verdict.FAILED, "everybody who reaches 0.0.0.0", "desk.access.way")


async def test_a_provider_that_answers_is_fine_and_the_address_to_register_is_said() -> None:
    async with Provider() as provider:
        (found,) = await findings(check_desk(site(desk=oidc(provider.issuer))))
    assert found.verdict is Verdict.OK
    assert "https://desk.example.com/auth/callback" in found.detail


async def test_a_provider_of_another_name_is_reported() -> None:
    async with Provider(discovery={"issuer": "https://other.example"}) as provider:
        found = await findings(check_desk(site(desk=oidc(provider.issuer))))
    reported(found, Verdict.FAILED, "https://other.example", "desk.access.oidc.issuer")


async def test_a_proxy_of_too_many_addresses_is_reported() -> None:
    access = {"way": "proxy", "everyone": "reader", "proxy": {"addresses": ["10.0.0.0/8"]}}
    found = await findings(check_desk(site(desk={"access": access})))
    reported(found, Verdict.WARNING, "10.0.0.0/8", "desk.access.proxy.addresses")


@pytest.mark.parametrize("content", [None, "short"])
async def test_a_token_that_cannot_be_used_is_reported(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_text(content)
    access = {"way": "tokens", "tokens": {"Ada": {"role": "reader", "file": str(file)}}}
    found = await findings(check_desk(site(desk={"access": access})))
    reported(found, Verdict.FAILED, str(file))
