"""What tries settings on events, and writes them: `pipeline map`, `ask` and `init`."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer import Argument, Option

from pipeline.cli.options import Json, OptionalPath, Strings

if TYPE_CHECKING:
    from pipeline.cascade.deciding import Decision
    from pipeline.config import KafkaSettings
    from pipeline.operators.single_event import EventReport, TierReport


def map_sample(
    stage: Annotated[str, Argument(help="Whose settings are tried.")],
    *,
    sample: Annotated[str, Option(help="FILE, folder or TOPIC.")],
    limit: Annotated[
        int, Option("--limit", "-n", min=1, max=1000, help="Records: the first of a file, "
                    "the latest of a topic.")
    ] = 5,
    propose: Annotated[
        bool, Option("--propose", help="Propose a mapping; done anyway where none is set.")
    ] = False,
    json: Json = False,
) -> None:  # fmt: skip
    """Show what a stage makes of real records, field by field; asks nothing and costs nothing."""
    from pipeline.cli.terminal import console, load_settings
    from pipeline.kafka.topics import TopicNames
    from pipeline.operators import mapping_preview as previewing
    from pipeline.operators.samples import decoded, is_file, is_object
    from pipeline.operators.samples import sample as take
    from pipeline.stages.api import stage_named

    settings = load_settings()
    stage_named(settings.stages, stage)
    own = settings.stages.by_name()[stage]
    topic = TopicNames.under(settings).tried_on(stage)

    async def look() -> previewing.MappingReport:
        sampled = await take(settings.kafka, sample, topic, limit)
        # What a registry's records are decoded to is what a person has in a file.
        is_decoded = is_file(sample) and all(is_object(each.record.value) for each in sampled)
        as_given = decoded(settings, stage) if is_decoded else settings
        return await previewing.preview(as_given, stage, sampled, proposed=propose or not own.map)

    report = console.run(look())
    if json:
        console.as_json(previewing.document(report))
        return
    by = previewing.sources(settings, stage)
    for shown in report.previews:
        ends = {"read": "", "passed_over": ": passed over", "dead_letter": ": a dead letter"}
        console.line(f"{console.plain(shown.place)}{ends[shown.end]}")
        if shown.because is not None:
            console.line(console.plain(f"  {shown.because}"))
        if rows := list(previewing.rows(shown, by)):
            console.table(previewing.HEADINGS, rows, numbers=False)
    console.line(previewing.sentence(report))
    if report.hint is not None:
        console.line(console.plain(report.hint))
    if report.proposal is not None:
        console.line("\nA mapping to begin with, for pipeline.toml:\n")
        console.line(console.plain(report.proposal.toml()))


def ask(
    stage: Annotated[str, Argument(help="Which question: tickets, invoices, images, ...")],
    text: Annotated[
        str | None, Argument(help="The event: its text, or JSON; - reads standard input.")
    ] = None,
    *,
    file: Annotated[
        OptionalPath, Option(help="A file instead: JSON, a text, an image, ...")
    ] = None,
    tier: Annotated[
        Literal["haiku", "sonnet", "both"],
        Option(help="Who is asked; both: Sonnet where Haiku's answer is doubted."),
    ] = "both",
    simulated: Annotated[
        bool, Option("--simulated", help="Ask a simulated API, which says nothing of models.")
    ] = False,
    json: Json = False,
) -> None:
    """Ask about one event, without Kafka: prompt, request, answer, signals, decision, cost."""
    import sys

    from pipeline.cli.terminal import console, load_settings
    from pipeline.local.environment import PATIENCE_SECONDS, require_api, simulated_api
    from pipeline.model.errors import UsageError
    from pipeline.observe.logging import configure_logging
    from pipeline.operators import single_event as single
    from pipeline.stages.api import stage_named

    settings = load_settings()
    configure_logging(settings.log)
    the_stage = stage_named(settings.stages, stage)
    if text is not None and file is not None:
        raise UsageError("Give a text or a file, not both.")
    given = single.given_event(the_stage, sys.stdin.read() if text == "-" else text, file)
    if not simulated:
        require_api(settings)

    async def look() -> single.EventReport:
        async with AsyncExitStack() as stack:
            asked = settings
            if simulated:
                await stack.enter_async_context(simulated_api())
                claude = settings.claude.model_copy(update={"call_timeout": PATIENCE_SECONDS})
                asked = settings.model_copy(update={"claude": claude})
            return await single.ask_about(asked, stage, given, tier)

    report = console.run(look())
    if json:
        console.as_json(single.document(report))
    else:
        for line in _lines_of(report):
            console.line(console.plain(line))
    if report.dead_letter is not None:
        raise typer.Exit(console.FAILED)


def _lines_of(report: "EventReport") -> Iterator[str]:
    for each in report.tiers:
        yield from _lines_of_tier(each)
    dead = report.dead_letter
    if dead is not None:
        yield f"A dead letter: {dead['reason']}: {dead['detail']}"
    elif not report.records:
        yield "Passed over: `where` is not true of it, or it is a deletion."
    else:
        names = {"enriched": "accepted", "escalated": "escalated to Sonnet", "review": "to people"}
        yield f"== It ends here: {names[report.end.value]}"
        for record in report.records:
            if len(report.records) > 1:
                yield f"event {record['event_id']}"
            for name in ("result", "haiku_result", "sonnet_result"):
                if record.get(name) is not None:
                    yield f"{name}: {_indented(record[name])}"


def _lines_of_tier(report: "TierReport") -> Iterator[str]:
    for request in report.requests:
        body = dict(request.body)
        yield f"== {report.tier.value.capitalize()}: {body.get('model', 'the model of its path')}"
        yield "-- prompt"
        yield from (block.get("text", "") for block in body.pop("system", ()))
        for message in body.pop("messages", ()):
            for block in message["content"]:
                yield "-- event"
                yield block["text"] if block["type"] == "text" else _indented(block)
        yield f"-- request, besides these\n{_indented(body)}"
        yield f"-- response: {request.status or 'none'}"
        for block in request.response.get("content", ()):
            yield block.get("text") or _indented(block.get("input", block))
    for decision in report.decisions:
        yield from _lines_of_decision(decision)


def _lines_of_decision(decision: "Decision[Any]") -> Iterator[str]:
    yield "-- signals" if decision.signals else "-- no signals"
    yield from (f"{each.code} {each.strength:.2f}: {each.detail}" for each in decision.signals)
    if decision.doubts:
        yield "-- decision: doubted"
        yield from (f"{each.code}: {each.detail}" for each in decision.doubts)
    else:
        yield "-- decision: accepted"
    usage = decision.usage
    cost = "an unknown price" if usage.cost_usd is None else f"${usage.cost_usd:f}"
    yield (
        f"-- cost: {cost}, {usage.calls} calls, {usage.input_tokens:,} tokens in, "
        f"{usage.output_tokens:,} out, {decision.seconds:.1f} s\n"
    )


def _indented(value: object) -> str:
    import json

    return json.dumps(value, indent=2, ensure_ascii=False, default=str)


def init(
    *,
    bootstrap_servers: Annotated[str | None, Option(help="host:port, comma-separated.")] = None,
    security_protocol: Annotated[
        str | None, Option(help="PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL.")
    ] = None,
    sasl_mechanism: Annotated[str | None, Option(help="How the account is proven.")] = None,
    sasl_username: Annotated[str | None, Option(help="The account.")] = None,
    topic: Annotated[Strings, Option("--topic", help="Where records are; repeatable.")] = None,
    kind: Annotated[
        str | None, Option(help="The question: tickets, invoices, ..., classify or extract.")
    ] = None,
    stage: Annotated[str | None, Option(help="What it is to be called.")] = None,
    output_topic: Annotated[str | None, Option(help="Where results go.")] = None,
    registry_url: Annotated[str | None, Option(help="Of the schema registry, if any.")] = None,
    create_topics: Annotated[
        bool, Option("--create-topics/--no-create-topics", help="Make the topics that are missing.")
    ] = True,
    yes: Annotated[
        bool, Option("--yes", help="Ask nothing; take what is given, or usual.")
    ] = False,
    force: Annotated[bool, Option("--force", help="Write over a pipeline.toml.")] = False,
    json: Json = False,
) -> None:
    """Write a commented pipeline.toml for your topics, after a few questions."""
    import sys
    from pathlib import Path

    from pipeline.cli.terminal import console, load_settings
    from pipeline.model.errors import UsageError
    from pipeline.model.records import now
    from pipeline.operators import first_settings as first
    from pipeline.operators import inspection

    path = Path("pipeline.toml")
    first.require_writable(path, force=force)
    if not yes and not sys.stdin.isatty():
        raise UsageError("This is no terminal to ask questions on: give options, and --yes.")
    settings = load_settings()
    given = {
        "bootstrap_servers": bootstrap_servers,
        "security_protocol": security_protocol,
        "sasl_mechanism": sasl_mechanism,
        "sasl_username": sasl_username,
    }
    kafka = _asked_kafka(settings.kafka, given, yes=yes)
    reached = first.reaching(settings.kafka, kafka)
    known = console.run(first.topics_of_others(reached, settings))
    topics = tuple(topic or ()) or _asked_topics(known, yes=yes)
    first.require_known("topic", topics, known)
    kinds = first.kinds(settings)
    if kind is None:
        kind = "tickets" if yes else _asked("Which question", "tickets", kinds)
    first.require_known("kind", [kind], kinds)
    usual = first.stage_name(topics, kind, settings)
    stage = stage or (usual if yes else _asked("What it is to be called", usual))
    if output_topic is None and not yes:
        output_topic = _asked("Where results go", f"{stage}.enriched")
    url = registry_url or settings.registry.url
    answers = first.Answers(kafka, topics, kind, stage, output_topic, url)
    found = console.run(first.sample_topics(reached, answers, settings))
    if found.format == "registry" and url is None and not yes:
        url = _asked("Schema registry of the records (http://host:port)", None)
        answers = replace(answers, registry=url)
        found = console.run(first.sample_topics(reached, answers, settings))
    with first.replacing(path, first.written(answers, found, settings, now().date())):
        settings = load_settings()
    created = []
    if create_topics:
        created = console.run(inspection.create(settings, settings.enabled))
    made = [report.name for report in created if report.was_created]
    if json:
        console.as_json({"file": str(path), "stage": stage, "topics": topics, "created": made})
        return
    console.line(f"Written: {path}. Topics made: {', '.join(made) or 'none'}.")
    sample = topics[0] if topics else "FILE"
    for sentence in first.left_to_do(answers, found, settings):
        console.line(console.plain(sentence))
    console.line(
        f"Next: `pipeline map {stage} --sample {sample}`, `pipeline doctor`, `pipeline run`."
    )


def _asked_kafka(
    usual: "KafkaSettings", given: Mapping[str, str | None], *, yes: bool
) -> dict[str, str]:
    """What is set of `[kafka]`; the password comes from the environment alone."""
    answers = {name: value for name, value in given.items() if value is not None}
    if not yes:
        protocols = "Protocol (PLAINTEXT, SSL, SASL_PLAINTEXT, SASL_SSL)"
        questions = {"bootstrap_servers": "Brokers (host:port)", "security_protocol": protocols}
        for name, question in questions.items():
            if name not in answers:
                answers[name] = _asked(question, str(getattr(usual, name)))
        if "SASL" in answers["security_protocol"]:
            if "sasl_mechanism" not in answers:
                answers["sasl_mechanism"] = _asked("Mechanism", usual.sasl_mechanism)
            if "sasl_username" not in answers:
                answers["sasl_username"] = _asked("Account", usual.sasl_username or "")
    answers.setdefault("bootstrap_servers", usual.bootstrap_servers)
    answers.setdefault("security_protocol", usual.security_protocol)
    return answers


def _asked_topics(known: Sequence[str], *, yes: bool) -> tuple[str, ...]:
    if yes or not known:
        return ()
    for number, name in enumerate(known, 1):
        typer.echo(f"{number:>4}  {name}")
    chosen = typer.prompt("Topics to read (numbers or names, comma-separated)")
    names = []
    for each in (part.strip() for part in chosen.split(",")):
        is_number = each.isdecimal() and each not in known and 0 < int(each) <= len(known)
        names.append(known[int(each) - 1] if is_number else each)
    return tuple(names)


def _asked(question: str, usual: str | None, choices: Sequence[str] = ()) -> str:
    shown = f"{question} ({', '.join(choices)})" if choices else question
    answer: str = typer.prompt(shown, default=usual)
    return answer
