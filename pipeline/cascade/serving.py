"""The stages as some settings have them: what reads their records, asks, decides and publishes.

All of it is built from the settings at once and never changed. Where settings change while a
process runs, another one is built, and each record that begins from then on is handled by that.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Self

from pipeline.cascade.certified import Certified
from pipeline.cascade.deciding import CascadePolicy
from pipeline.cascade.policy import Policy, Verdict, opinions, policy_of, settings_digest
from pipeline.cascade.processor import Processor
from pipeline.cascade.publishing import NO_OUTPUTS, Outputs
from pipeline.cascade.reading import (
    AnyStage,
    Escalations,
    RawEvents,
    Reader,
    Reading,
    adapter_of,
    stages_by_tier,
)
from pipeline.cascade.sampler import Sampler
from pipeline.cascade.tenant_fields import tenants_of
from pipeline.config import Ordering, Settings
from pipeline.inputs.adapter import Adapter
from pipeline.inputs.outputs import open_outputs
from pipeline.kafka.topics import ESCALATIONS, TopicNames
from pipeline.model.errors import UsageError
from pipeline.model.observer import Observer
from pipeline.model.questions import Asker
from pipeline.model.records import Tier
from pipeline.stages.checks.scope import Encoder
from pipeline.stream.tenants import TenantOf, Tenants, Waiting, carried_tenant_reader


@dataclass(frozen=True, eq=False)
class ServedStages:
    """Those stages of the settings that a process serves; `ESCALATIONS` is one of `names`."""

    settings: Settings
    names: Sequence[str]
    by_tier: Mapping[Tier, Mapping[str, AnyStage]]
    topics: TopicNames
    policy: Policy
    second_opinions: Mapping[str, Verdict]
    _adapters: Mapping[str, Adapter | None]

    @classmethod
    def of(cls, settings: Settings, names: Sequence[str], encoder: Encoder | None = None) -> Self:
        """Build them.

        Raises:
            UsageError: There is no such stage, or one cannot be as it is set.
        """
        by_tier, names = stages_by_tier(settings, encoder), tuple(dict.fromkeys(names))
        stages = by_tier[Tier.HAIKU]
        unknown = [name for name in names if name not in {*stages, ESCALATIONS}]
        if unknown or not names:
            known = ", ".join([*stages, ESCALATIONS])
            raise UsageError(f"There is no stage {', '.join(unknown)}; there are {known}.")
        return cls(
            settings,
            names,
            by_tier,
            TopicNames.under(settings),
            policy_of(settings, stages),
            opinions(settings, stages),
            {name: adapter_of(settings, stages[name]) for name in names if name != ESCALATIONS},
        )

    @property
    def stages(self) -> Mapping[str, AnyStage]:
        """Every stage of the settings, served here or not, as the first tier asks about it."""
        return self.by_tier[Tier.HAIKU]

    async def open_outputs(self) -> Outputs:
        """In which form the results of those stages are published that are answered here."""
        # What any process escalates may come, enabled here or not.
        names = self.stages if ESCALATIONS in self.names else self.names
        stages = {name: self.stages[name] for name in names}
        tables = self.settings.stages.by_name()
        return await open_outputs(stages, tables, self.topics.enriched, self.settings.registry)

    def processor(
        self,
        name: str,
        asker: Asker,
        reading: Reading,
        *,
        clock: Callable[[], datetime],
        observer: Observer,
        tenant_of: TenantOf | None = None,
        outputs: Outputs = NO_OUTPUTS,
        sampler: Sampler | None = None,
        certified: Certified | None = None,
    ) -> Processor:
        """The handler of the records of a stage, or of the escalations."""
        tier, reader = Tier.SONNET, self._escalations()
        if name != ESCALATIONS:
            tier, reader = Tier.HAIKU, RawEvents(self.stages[name], self._adapters[name], reading)
        return Processor(
            reader,
            CascadePolicy(asker, self.policy, tier, reading),
            self.topics,
            clock=clock,
            observer=observer,
            tenant_of=tenant_of,
            tombstones_to=self.tombstones_to(name),
            outputs=outputs,
            sampler=sampler,
            certified=certified,
        )

    def _escalations(self) -> Reader:
        tables = self.settings.stages.by_name()
        limits = {name: table.max_text_chars for name, table in tables.items()}
        return Escalations(self.by_tier[Tier.SONNET], limits)

    def ordering(self, name: str) -> Ordering:
        return "key" if name == ESCALATIONS else self.settings.stages.by_name()[name].ordering

    def tenants(self, name: str, waiting: Callable[[], Waiting]) -> Tenants | None:
        """The tenants of a stage, or of the escalations; None where nobody asks whose a record is.

        Their field is looked for in the format of the input, which stays while a process runs.
        """
        tenant_from = self.settings.stream.tenant_from
        if name != ESCALATIONS:
            own = self.settings.stages.by_name()[name].input
            return tenants_of(tenant_from, name, own, self._adapters[name], waiting)
        carried = carried_tenant_reader(tenant_from)
        return None if carried is None else Tenants(tenant_from or "", carried, waiting)

    def tombstones_to(self, name: str) -> tuple[str, ...]:
        """The topics of results that get a tombstone where one comes."""
        if name == ESCALATIONS or not self.settings.stages.by_name()[name].output.tombstones:
            return ()
        return self.topics.results_of(name)

    def asks(self, name: str) -> str:
        """Digest of all that decides about what is asked; the same in replicas."""
        return settings_digest(self.settings, *(self.stages if name == ESCALATIONS else [name]))
