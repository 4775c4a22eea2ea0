"""The SDK's clients for AWS against the servers: what they accept, and what they refuse and how."""

from collections.abc import Callable
from typing import Any

import anthropic
import pytest

from pipeline.local.simulated import Fault, Limits, Simulation
from tests.platforms.clients import asking
from tests.platforms.conftest import Start
from tests.platforms.running import AUTHS, Running

PLATFORMS = ("aws", "bedrock-mantle", "bedrock")
SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": ["billing", "sales"]}},
    "required": ["label"],
    "additionalProperties": False,
}
FORMAT = {"format": {"type": "json_schema", "schema": SCHEMA}}
TOOL = {"name": "answer", "input_schema": SCHEMA}
HAIKU_4_5 = "claude-haiku-4-5-20251001"
Make = Callable[..., Any]


async def refused(
    client: Any,  # noqa: ANN401
    platform: Running,
    **changes: object,
) -> anthropic.APIStatusError:
    with pytest.raises(anthropic.APIStatusError) as caught:
        await client.messages.create(**asking(platform, **changes))
    return caught.value


def error_type(error: anthropic.APIStatusError) -> str:
    return str(error.response.headers.get("x-amzn-errortype", "")).partition(":")[0]


@pytest.mark.parametrize("name", PLATFORMS)
async def test_a_signed_request_is_answered(name: str, start: Start, client: Make) -> None:
    platform = await start(name)
    message = await client(platform).messages.create(**asking(platform))
    assert message.model == "simulated-claude-haiku-5-5"
    assert message.id.startswith("msg_bdrk_" if name == "bedrock" else "msg_")
    assert not platform.server.refused
    (served,) = platform.api.control.ledger
    assert (served.model, served.status, served.billed) == ("claude-haiku-5-5", 200, True)


@pytest.mark.parametrize("auth", AUTHS["bedrock"])
async def test_credentials_are_found_wherever_botocore_looks(
    auth: str, start: Start, client: Make
) -> None:
    platform = await start("bedrock", auth=auth)
    await client(platform).messages.create(**asking(platform))
    assert platform.credentials.issued == 1


@pytest.mark.parametrize(
    ("name", "status"), [("aws", 401), ("bedrock-mantle", 403), ("bedrock", 403)]
)
async def test_an_expired_session_is_refused_and_the_next_one_is_not(
    name: str, status: int, start: Start, client: Make
) -> None:
    # What lives no longer than botocore's window before the end is fetched again each time.
    platform = await start(name, life=500.0)
    key = platform.credentials.current()
    given = {
        "aws_access_key": key.name,
        "aws_secret_key": key.secret,
        "aws_session_token": key.token,
    }
    platform.credentials.expire()
    error = await refused(client(platform, **given), platform)
    assert (error.status_code, error_type(error)) == (status, "ExpiredTokenException")
    assert error.body == {"message": "The security token included in the request is expired"}
    await client(platform).messages.create(**asking(platform))


@pytest.mark.parametrize(
    ("name", "status"), [("aws", 401), ("bedrock-mantle", 403), ("bedrock", 403)]
)
async def test_bearer_tokens_are_accepted_until_they_expire(
    name: str, status: int, start: Start, client: Make
) -> None:
    platform = await start(name, auth="bearer")
    one = client(platform)
    await one.messages.create(**asking(platform))
    platform.credentials.expire()
    error = await refused(one, platform)
    assert (error.status_code, error_type(error)) == (status, "ExpiredTokenException")
    wrong = await refused(client(platform, api_key="bedrock-api-key-of-nobody"), platform)
    assert (wrong.status_code, error_type(wrong)) == (status, "AccessDeniedException")


@pytest.mark.parametrize("name", PLATFORMS)
async def test_the_region_of_another_endpoint_is_refused(
    name: str, start: Start, client: Make
) -> None:
    platform = await start(name)
    error = await refused(client(platform, aws_region="eu-west-1"), platform)
    assert error_type(error) == "InvalidSignatureException"


@pytest.mark.parametrize("name", PLATFORMS)
async def test_a_role_without_the_permission_is_refused(
    name: str, start: Start, client: Make
) -> None:
    platform = await start(name)
    platform.platform.denied = True
    error = await refused(client(platform), platform)
    assert (error.status_code, error_type(error)) == (403, "AccessDeniedException")


async def test_a_workspace_is_needed_and_must_be_ones_own(start: Start, client: Make) -> None:
    platform = await start("aws")
    error = await refused(client(platform, workspace_id="wrkspc_01Other"), platform)
    assert (error.status_code, error_type(error)) == (403, "AccessDeniedException")
    assert (await refused(client(platform, workspace_id=""), platform)).status_code == 400


@pytest.mark.parametrize(
    ("name", "status", "models"),
    [
        ("aws", 404, ["anthropic.claude-haiku-5-5", "claude-haiku-9"]),
        ("bedrock-mantle", 404, ["claude-haiku-5-5", "us.anthropic.claude-haiku-5-5"]),
        ("bedrock", 400, ["claude-haiku-5-5", "us.anthropic.claude-haiku-9"]),
    ],
)
async def test_ids_of_other_platforms_are_not_known(
    name: str, status: int, models: list[str], start: Start, client: Make
) -> None:
    platform = await start(name)
    one = client(platform)
    for model in models:
        assert (await refused(one, platform, model=model)).status_code == status


async def test_a_profile_is_needed_for_older_models_and_must_be_open(
    start: Start, client: Make
) -> None:
    platform = await start("bedrock")
    one = client(platform)
    old = f"anthropic.{HAIKU_4_5}-v1:0"
    sent: dict[str, Any] = {"model": old, "extra_body": {"anthropic_version": "bedrock-2023-05-31"}}
    error = await refused(one, platform, **sent)
    assert (error.status_code, error_type(error)) == (400, "ValidationException")
    error = await refused(one, platform, model="eu.anthropic.claude-haiku-5-5")
    assert (error.status_code, error_type(error)) == (403, "AccessDeniedException")
    sent["model"] = f"us.{old}"
    message = await one.messages.create(**asking(platform, **sent))
    assert message.model == f"simulated-{HAIKU_4_5}"


async def test_only_newer_models_take_the_newer_version_on_bedrock(
    start: Start, client: Make
) -> None:
    platform = await start("bedrock")
    one = client(platform)
    error = await refused(one, platform, model=f"us.anthropic.{HAIKU_4_5}-v1:0")
    assert "anthropic_version: '2026-10-21'" in str(error)
    for version in ("2026-10-21", "bedrock-2023-05-31"):
        await one.messages.create(**asking(platform), extra_body={"anthropic_version": version})
    error = await refused(one, platform, extra_body={"anthropic_version": "2023-06-01"})
    assert error_type(error) == "ValidationException"


async def test_a_model_in_the_body_is_refused_by_invokemodel(start: Start, client: Make) -> None:
    platform = await start("bedrock")
    body = {**asking(platform), "anthropic_version": "bedrock-2023-05-31"}
    path = f"/model/{body['model']}/invoke"
    with pytest.raises(anthropic.BadRequestError, match="model: Extra inputs are not permitted"):
        await client(platform).post(path, cast_to=object, body=body)


@pytest.mark.parametrize("name", ["bedrock-mantle", "bedrock"])
async def test_models_of_5_5_take_forced_tools_and_no_schema_on_bedrock(
    name: str, start: Start, client: Make
) -> None:
    platform = await start(name)
    one = client(platform)
    for changes in ({"output_config": FORMAT}, {"tools": [{**TOOL, "strict": True}]}):
        error = await refused(one, platform, **changes)
        assert error.status_code == 400
        assert "Extra inputs are not permitted" in str(error)
    choice = {"type": "tool", "name": "answer"}
    message = await one.messages.create(**asking(platform, tools=[TOOL], tool_choice=choice))
    assert message.stop_reason == "tool_use"


async def test_claude_platform_on_aws_has_all_of_the_api(start: Start, client: Make) -> None:
    platform = await start("aws", simulation=Simulation(limits={"*": Limits(requests=50)}))
    one = client(platform)
    raw = await one.messages.with_raw_response.create(**asking(platform, output_config=FORMAT))
    assert raw.headers["anthropic-ratelimit-requests-limit"] == "50"
    assert "x-amzn-requestid" in raw.headers
    assert (await one.models.retrieve("claude-haiku-5-5")).id == "claude-haiku-5-5"
    counted = await one.messages.count_tokens(**asking(platform, max_tokens=None))
    assert counted.input_tokens > 0
    assert (await one.messages.batches.list(limit=1)).data == []


async def test_mantle_counts_tokens_and_has_no_batches_and_no_models(
    start: Start, client: Make
) -> None:
    platform = await start("bedrock-mantle")
    one = client(platform)
    counted = await one.messages.count_tokens(**asking(platform, max_tokens=None))
    assert counted.input_tokens > 0
    with pytest.raises(anthropic.NotFoundError):
        await one.messages.batches.create(requests=[])
    with pytest.raises(anthropic.NotFoundError):
        await one.get("/v1/models/anthropic.claude-haiku-5-5", cast_to=object)


async def test_invokemodel_has_nothing_but_messages(start: Start, client: Make) -> None:
    platform = await start("bedrock")
    with pytest.raises(anthropic.NotFoundError) as caught:
        await client(platform).get("/v1/models/us.anthropic.claude-haiku-5-5", cast_to=object)
    assert error_type(caught.value) == "UnknownOperationException"


@pytest.mark.parametrize(
    ("name", "code"), [("bedrock-mantle", ""), ("bedrock", "ThrottlingException")]
)
async def test_bedrock_throttles_without_a_word_on_its_limits(
    name: str, code: str, start: Start, client: Make
) -> None:
    platform = await start(name, simulation=Simulation(limits={"*": Limits(requests=1)}))
    one = client(platform)
    raw = await one.messages.with_raw_response.create(**asking(platform))
    error = await refused(one, platform)
    assert (error.status_code, error_type(error)) == (429, code)
    for headers in (raw.headers, error.response.headers):
        assert not [each for each in headers if "ratelimit" in each or each == "retry-after"]


async def test_an_outage_is_unavailability_in_the_words_of_aws(start: Start, client: Make) -> None:
    platform = await start("bedrock")
    platform.api.control.faults.add(Fault("overloaded"), platform.api.control.clock())
    error = await refused(client(platform), platform)
    assert (error.status_code, error_type(error)) == (503, "ServiceUnavailableException")


@pytest.mark.parametrize(
    ("name", "megabytes"), [("aws", 32), ("bedrock-mantle", 20), ("bedrock", 20)]
)
async def test_bodies_that_are_too_large_are_refused(
    name: str, megabytes: int, start: Start, client: Make
) -> None:
    platform = await start(name)
    assert platform.platform.limit == megabytes * 1024 * 1024
    platform.platform.limit = 1000  # what it does is the same, and takes no seconds
    error = await refused(client(platform), platform, messages=[_saying("a" * 1000)])
    assert error.status_code == 413


def _saying(text: str) -> dict[str, str]:
    return {"role": "user", "content": text}


@pytest.mark.parametrize("name", ["bedrock-mantle", "bedrock"])
async def test_images_of_more_than_5_mb_are_refused_on_bedrock(
    name: str, start: Start, client: Make
) -> None:
    platform = await start(name)
    image = {"type": "base64", "media_type": "image/png", "data": "A" * (5 * 1024 * 1024 + 4)}
    content = [{"type": "image", "source": image}]
    messages = [{"role": "user", "content": content}]
    error = await refused(client(platform), platform, messages=messages)
    assert error.status_code == 400
    assert "5 MB" in str(error)
