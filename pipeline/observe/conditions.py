"""What is a state with a reason for people, where a metric can only be a number."""

from dataclasses import dataclass, field


@dataclass(slots=True)
class Conditions:
    """The present state of the process, as the rooms reported it last.

    Args:
        intake_closed: Why no events are taken, by stage; empty where they are.
        held: Why events wait for their turn although nothing is wrong, by stage.
        stuck: Why a consumer counts as stuck, by stage.
        blocked: Why no call to a model can succeed, by model.
        breakers: `closed`, `half_open` or `open`, by model.
        assigned: Partitions assigned to this process, by stage; a stage appears with its first
            assignment, be it an empty one.
        simulated: Whether an answer came from a simulated model.
    """

    intake_closed: dict[str, str] = field(default_factory=dict)
    held: dict[str, str] = field(default_factory=dict)
    stuck: dict[str, str] = field(default_factory=dict)
    blocked: dict[str, str] = field(default_factory=dict)
    breakers: dict[str, str] = field(default_factory=dict)
    assigned: dict[str, int] = field(default_factory=dict)
    simulated: bool = False

    def not_assigned(self, stage: str) -> str | None:
        """Why a consumer cannot receive, or None; no partition at all is fine for a spare one."""
        if stage in self.assigned:
            return None
        return "The consumer group has not assigned partitions to this process yet."

    def not_moving(self, stage: str) -> str | None:
        """Why a consumer makes no progress, or None."""
        return self.stuck.get(stage)

    def not_answering(self) -> str | None:
        """Why the models cannot be asked, or None."""
        for model, reason in self.blocked.items():
            return f"{model}: {reason}"
        open_breakers = sorted(model for model, state in self.breakers.items() if state == "open")
        if open_breakers:
            return f"No answer from {', '.join(open_breakers)}: asking again now and then."
        return None
