from pipeline.observe.dashboard import Finding, Health


def test_without_checks_all_is_well() -> None:
    assert Health().ready().ok


def test_a_reason_makes_it_not_ready_and_says_why() -> None:
    health = Health()
    health.add_readiness("brokers", lambda: None)
    health.add_readiness("api", lambda: "The API key is not accepted.")
    report = health.ready()
    assert not report.ok
    assert report.findings == (
        Finding("brokers", None),
        Finding("api", "The API key is not accepted."),
    )


def test_checks_are_asked_again_each_time() -> None:
    answers = iter(["Not yet.", None])
    health = Health()
    health.add_readiness("assigned", lambda: next(answers))
    assert [health.ready().ok, health.ready().ok] == [False, True]
