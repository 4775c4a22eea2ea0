"""The SDK's clients for Google Cloud against the servers: tokens, paths, bodies and errors."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest
from google.auth.exceptions import RefreshError

from pipeline.local.simulated import Limits, Simulation
from tests.platforms.clients import asking
from tests.platforms.conftest import Start
from tests.platforms.google import PROJECT, REGION
from tests.platforms.running import Running

PLATFORMS = ("vertex", "google-cloud")
Make = Callable[..., Any]


async def refused(
    client: Any,  # noqa: ANN401
    platform: Running,
    **changes: object,
) -> tuple[int, dict[str, Any]]:
    """The status, and what the body says of the error."""
    with pytest.raises(anthropic.APIStatusError) as caught:
        await client.messages.create(**asking(platform, **changes))
    body: Any = caught.value.body
    assert isinstance(body, dict)
    return caught.value.status_code, body["error"]


@pytest.mark.parametrize("name", PLATFORMS)
async def test_a_service_account_is_given_a_token_and_answered(
    name: str, start: Start, client: Make
) -> None:
    platform = await start(name)
    message = await client(platform).messages.create(**asking(platform))
    assert message.model == "simulated-claude-haiku-5-5"
    assert message.id.startswith("msg_vrtx_" if name == "vertex" else "msg_simulated_")
    assert not platform.server.refused
    assert platform.credentials.issued == 1


@pytest.mark.parametrize("name", PLATFORMS)
async def test_a_token_that_expires_before_its_time_is_a_401(
    name: str, start: Start, client: Make
) -> None:
    platform = await start(name)
    one = client(platform)
    await one.messages.create(**asking(platform))
    platform.credentials.expire()
    status, error = await refused(one, platform)
    assert (status, error["status"]) == (401, "UNAUTHENTICATED")
    assert error["details"][0]["reason"] == "ACCESS_TOKEN_EXPIRED"


@pytest.mark.parametrize("name", PLATFORMS)
async def test_tokens_that_are_about_to_expire_are_renewed_by_the_client(
    name: str, start: Start, client: Make
) -> None:
    """google-auth renews what has less than 3 min 45 s to live."""
    platform = await start(name, life=200.0)
    one = client(platform)
    await one.messages.create(**asking(platform))
    platform.credentials.expire()
    await one.messages.create(**asking(platform))
    assert platform.credentials.issued == 2


def rename_account(key_file: str) -> None:
    path = Path(key_file)
    path.write_text(path.read_text().replace("pipeline@", "another@"))


async def test_the_assertion_of_another_account_is_refused(start: Start, client: Make) -> None:
    platform = await start("vertex")
    rename_account(platform.environment["GOOGLE_APPLICATION_CREDENTIALS"])
    with pytest.raises(RefreshError, match="invalid_grant"):
        await client(platform).messages.create(**asking(platform))


async def test_machines_get_tokens_from_the_metadata_server(start: Start) -> None:
    platform = await start("vertex", auth="metadata")
    host = platform.environment["GCE_METADATA_HOST"]
    path = "/computeMetadata/v1/instance/service-accounts/default/token"
    async with httpx2.AsyncClient(base_url=f"http://{host}") as http:
        assert (await http.get(path)).status_code == 403
        given = await http.get(path, headers={"Metadata-Flavor": "Google"})
        again = await http.get(path, headers={"Metadata-Flavor": "Google"})
    assert given.json()["access_token"] == again.json()["access_token"]
    assert given.json()["token_type"] == "Bearer"


@pytest.mark.parametrize("name", PLATFORMS)
async def test_no_token_and_a_strange_token_are_refused(
    name: str, start: Start, client: Make
) -> None:
    platform = await start(name)
    headers = {"Authorization": "Bearer ya29.of-nobody"}
    status, error = await refused(client(platform, default_headers=headers), platform)
    assert (status, error["status"]) == (401, "UNAUTHENTICATED")


@pytest.mark.parametrize("name", PLATFORMS)
async def test_another_project_is_refused_and_another_region_has_no_model(
    name: str, start: Start, client: Make
) -> None:
    platform = await start(name)
    if name == "vertex":
        other = client(platform, project_id="another-project")
        elsewhere = client(platform, region="europe-west1")
    else:
        base = platform.where["base_url"]
        other = client(platform, base_url=base.replace(PROJECT, "another-project"))
        elsewhere = client(platform, base_url=base.replace(REGION, "europe-west1"))
    status, error = await refused(other, platform)
    assert (status, error["status"]) == (403, "PERMISSION_DENIED")
    status, error = await refused(elsewhere, platform)
    assert (status, error["status"]) == (404, "NOT_FOUND")


async def test_vertex_writes_dates_of_models_behind_an_at(start: Start, client: Make) -> None:
    platform = await start("vertex")
    one = client(platform)
    message = await one.messages.create(**asking(platform, model="claude-haiku-4-5@20251001"))
    assert message.model == "simulated-claude-haiku-4-5-20251001"
    for model in ("claude-haiku-4-5-20251001", "anthropic.claude-haiku-5-5", "claude-haiku-9"):
        status, error = await refused(one, platform, model=model)
        assert (status, error["status"]) == (404, "NOT_FOUND")


async def test_vertex_takes_its_own_version_and_the_newest(start: Start, client: Make) -> None:
    platform = await start("vertex")
    one = client(platform)
    for version in ("vertex-2023-10-16", "2026-10-21"):
        await one.messages.create(**asking(platform), extra_body={"anthropic_version": version})
    status, error = await refused(one, platform, extra_body={"anthropic_version": "2023-06-01"})
    assert (status, error["type"]) == (400, "invalid_request_error")
    body = {**asking(platform), "anthropic_version": "vertex-2023-10-16"}
    path = f"/projects/{PROJECT}/locations/{REGION}/publishers/anthropic/models/{body['model']}"
    with pytest.raises(anthropic.BadRequestError, match="model: Extra inputs are not permitted"):
        await one.post(f"{path}:rawPredict", cast_to=object, body=body)


async def test_vertex_counts_tokens_and_has_no_batches_and_no_models(
    start: Start, client: Make
) -> None:
    platform = await start("vertex")
    one = client(platform)
    counted = await one.messages.count_tokens(**asking(platform, max_tokens=None))
    assert counted.input_tokens > 0
    with pytest.raises(anthropic.NotFoundError):
        await one.get("/models/claude-haiku-5-5", cast_to=object)


async def test_vertex_says_that_a_quota_is_used_up_and_not_how_large_it_is(
    start: Start, client: Make
) -> None:
    platform = await start("vertex", simulation=Simulation(limits={"*": Limits(requests=1)}))
    one = client(platform)
    raw = await one.messages.with_raw_response.create(**asking(platform))
    assert not [name for name in raw.headers if "ratelimit" in name]
    status, error = await refused(one, platform)
    assert (status, error["status"]) == (429, "RESOURCE_EXHAUSTED")


async def test_a_model_managed_by_anthropic_has_all_of_the_api(start: Start, client: Make) -> None:
    platform = await start("google-cloud", simulation=Simulation(limits={"*": Limits(requests=50)}))
    one = client(platform)
    raw = await one.messages.with_raw_response.create(**asking(platform))
    assert raw.headers["anthropic-ratelimit-requests-limit"] == "50"
    assert (await one.models.retrieve("claude-haiku-5-5")).id == "claude-haiku-5-5"
    assert (await one.messages.batches.list(limit=1)).data == []


async def test_bodies_of_more_than_30_mb_and_images_of_more_than_5_are_refused(
    start: Start, client: Make
) -> None:
    platform = await start("vertex")
    one = client(platform)
    source = {"type": "base64", "media_type": "image/png", "data": "A" * (5 * 1024 * 1024 + 4)}
    messages = [{"role": "user", "content": [{"type": "image", "source": source}]}]
    status, error = await refused(one, platform, messages=messages)
    assert (status, error["type"]) == (400, "invalid_request_error")
    assert platform.platform.limit == 30 * 1024 * 1024
    platform.platform.limit = 1000  # what it does is the same, and takes no seconds
    status, error = await refused(one, platform, messages=messages)
    assert (status, error["status"]) == (400, "INVALID_ARGUMENT")
