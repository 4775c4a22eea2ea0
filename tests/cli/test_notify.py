"""`pipeline notify test`."""

import pytest

from tests.cli.conftest import Run


def test_without_a_webhook_the_command_says_what_to_set(run: Run) -> None:
    ran = run("notify", "test")
    assert (ran.code, "notifications.webhooks" in ran.err) == (2, True)


def test_a_test_that_is_not_delivered_fails(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.notify.webhooks._BACKOFF", ())
    webhooks = '{"ops": {"url": "ftp://127.0.0.1/secret-part"}}'
    monkeypatch.setenv("PIPELINE_NOTIFICATIONS__WEBHOOKS", webhooks)
    ran = run("notify", "test", "--json")
    assert (ran.code, '"delivered":false' in ran.out, "secret-part" in ran.out) == (1, True, False)
    assert run("notify", "test", "other").code == 2
