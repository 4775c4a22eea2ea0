"""`pipeline review sample`."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer import Argument, Option

from pipeline.cli.options import As, OptionalPath, Since

if TYPE_CHECKING:
    from pipeline.operators.sample_labels import LabelDesk, Question, ReadBack, Task
    from pipeline.trust.records import AnswerLabel

_SHOWN = 4000
_SKIP, _STOP = "/skip", "/quit"
_YES, _NO = frozenset({"y", "yes"}), frozenset({"n", "no"})
_LONGEST_NAME = 100


class Skipped(Exception):
    """The person does not say."""


class Stopped(Exception):
    """The person has had enough."""


def terminal_prompt(question: str) -> str:
    answer: str = typer.prompt(question, prompt_suffix=" ", default="", show_default=False)
    return answer


def terminal_line(text: str) -> None:
    from pipeline.cli.terminal import console

    console.line(console.plain(text))


def label_sample(
    stage: Annotated[str, Argument(help="Whose answers.")],
    *,
    since: Since = None,
    limit: Annotated[int, Option("--limit", "-n", min=1, help="At most so many.")] = 20,
    files: Annotated[
        OptionalPath, Option(help="A folder, for the file of the event that is asked about.")
    ] = None,
    person: As = None,
) -> None:
    """Label answers that were drawn by lot: say what is right, before the answer is shown."""
    import asyncio

    from pipeline.cli.terminal import console, load_settings
    from pipeline.kafka.writer import Writer
    from pipeline.model.records import now
    from pipeline.operators.audit import AuditedCommand, person_named, selected
    from pipeline.operators.sample_labels import LOOK_BACK, EventGone, LabelDesk
    from pipeline.operators.selection import moment, topic_reader

    settings = load_settings()
    desk = LabelDesk.of(settings, topic_reader(settings), stage)
    who, began = person_named(person, settings.operators), now()
    start = began - LOOK_BACK if since is None else moment(since, began)
    topics = desk.topics
    command = AuditedCommand(
        topics.audit, who, "review sample", "labelled", selected(stage=[stage], since=start)
    )

    async def work() -> tuple[int, int]:
        found = await desk.worklist(who, since=start, limit=limit)
        console.note(f"{found.waiting:,} drawn answers of {stage} are for {who} to label.")
        if found.agreement.pairs:
            kappa = found.agreement.kappa
            said = "not known, as all verdicts are equal" if kappa is None else f"{kappa:.2f}"
            console.note(
                f"Two people agreed on {found.agreement.agreed:,} of {found.agreement.pairs:,} "
                f"answers that both labelled; Cohen's kappa: {said}."
            )
        done = gone = 0
        async with Writer(
            settings.kafka, max_record_bytes=settings.topics.max_message_bytes
        ) as writer:
            for task in found.tasks:
                try:
                    event = await desk.event_of(task.answer)
                except EventGone as error:
                    console.note(f"{task.answer.event_id}: {error}")
                    gone += 1
                    continue
                if files is not None:
                    save(event, files)
                try:
                    label = await asyncio.to_thread(labelled, desk, task, event, who)
                except Skipped:
                    continue
                except Stopped:
                    break
                await writer.write(desk.outgoing(label))
                await writer.flush()
                done += 1
            if done:
                await writer.write(command.entry(done, at=now(), about=topics.trust))
        return done, gone

    done, gone = console.run(work())
    console.note(f"{done:,} labelled.")
    if gone:
        console.note(
            f"{gone:,} could not be, since their events are gone: label sooner, or raise "
            "topics.payload_retention. If only some kinds of events are gone, shares are biased."
        )


def labelled(
    desk: "LabelDesk",
    task: "Task",
    event: "ReadBack",
    person: str,
    *,
    ask: Callable[[str], str] = terminal_prompt,
    show: Callable[[str], None] = terminal_line,
) -> "AnswerLabel":
    """Have a person label an answer: the event, what is right about it, then the answer.

    Raises:
        Skipped: They do not say.
        Stopped: They want no more.
    """
    from pipeline.model.printable import readable
    from pipeline.model.records import now
    from pipeline.operators.sample_labels import decided_by

    def answered(question: str) -> str:
        text = ask(question).strip()
        if text == _SKIP:
            raise Skipped
        if text == _STOP:
            raise Stopped
        return text

    answer, part = task.answer, task.answer.source.part
    show("")
    show(f"event {answer.event_id}" + ("" if part is None else f", part {part.number}"))
    for line in readable(event.document, limit=_SHOWN, depth=1):
        show(line)
    questions = desk.questions(answer)
    if questions:
        show(f"What is right? Nothing: not said; -: it has none; {_SKIP}, {_STOP}.")
    given = {each.name: text for each in questions if (text := _given(each, answered, show))}
    blind = desk.compare(answer, given, event)
    show(f"answer of {decided_by(answer)}")
    for line in readable(dict(desk.result_of(answer) or {}), limit=_SHOWN, depth=1):
        show(line)
    if not given:
        is_right = _decided(answered, "Is it right? (y, n)", None)
    else:
        said = f"differs in {', '.join(blind.differ)}" if blind.differ else "agrees with you"
        question = f"It {said}. Is it right? (y, n; nothing: {'no' if blind.differ else 'yes'})"
        is_right = _decided(answered, question, not blind.differ)
    return desk.label(task, person, blind, is_right=is_right, at=now())


def _given(question: "Question", ask: Callable[[str], str], show: Callable[[str], None]) -> str:
    """What a person gives for a field, a label by its name or number; empty where nothing."""
    labels = {each.casefold(): each for each in question.labels}
    for number, name in enumerate(question.labels, start=1):
        show(f"{number:>4}  {name}")
    while True:
        text = ask(f"{question.name}:")
        if not labels or text in {"", "-"}:
            return text
        if text.casefold() in labels:
            return labels[text.casefold()]
        if text.isdecimal() and 0 < int(text) <= len(question.labels):
            return question.labels[int(text) - 1]
        show("There is no such label.")


def _decided(ask: Callable[[str], str], question: str, usual: bool | None) -> bool:
    while True:
        text = ask(question).casefold()
        if not text and usual is not None:
            return usual
        if text in _YES | _NO:
            return text in _YES


def save(event: "ReadBack", folder: Path) -> None:
    """Write the file that an event brings to a folder, and say so; nothing where it brings none."""
    from pipeline.cli.terminal import console
    from pipeline.model.errors import UsageError
    from pipeline.operators.files import usable
    from pipeline.operators.review import save_file

    document = event.document
    if not isinstance(document.get("file"), dict):
        return
    ending = str(document["file"].get("media_type", "")).rpartition("/")[2]
    safe = "".join(each for each in event.event.id if each.isalnum() or each in "-_")
    path = folder / f"{safe[:_LONGEST_NAME] or 'event'}.{ending if ending.isalnum() else 'bin'}"
    with usable(folder, "made", otherwise="name another."):
        folder.mkdir(parents=True, exist_ok=True)
    try:
        console.note(f"{save_file(document, path):,} bytes written to {path}")
    except UsageError as error:
        console.note(str(error))
