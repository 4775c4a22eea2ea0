"""When an answer is doubted and when it is asked again: the policy that the settings make."""

from collections.abc import Mapping, Sequence

from pipeline.cascade.policy import Policy
from pipeline.cascade.reading import AnyStage
from pipeline.cascade.second_opinion import Verdict, whether_it_pays
from pipeline.claude.billing import PriceTable
from pipeline.claude.workloads import price_ratio
from pipeline.config import Settings
from pipeline.model.questions import Part, Text
from pipeline.stages.api import Rewording
from pipeline.stages.checks.injection import injection_signals


def policy_of(settings: Settings, stages: Mapping[str, AnyStage]) -> Policy:
    """What counts as a doubt, and where a second opinion is asked for."""
    verdicts = opinions(settings, stages)
    return Policy.from_settings(
        settings,
        second_opinions={name for name, verdict in verdicts.items() if verdict.pays},
    )


def steers(parts: Sequence[Part]) -> bool:
    """Whether an event may be meant to steer the model: then it shares a request with no other.

    Any sign will do, since it costs no more than a request of its own.
    """
    return bool(injection_signals(*(part.text for part in parts if isinstance(part, Text))))


def opinions(settings: Settings, stages: Mapping[str, AnyStage]) -> Mapping[str, Verdict]:
    """Whether a second opinion pays, by stage that is set to have it."""
    models = settings.models
    ratio = price_ratio(PriceTable(settings.claude.prices), models.haiku, models.sonnet)
    found = {}
    for name, spares in settings.escalation.second_opinion.items():
        if isinstance(stages[name], Rewording):
            found[name] = whether_it_pays(ratio, spares)
        else:
            found[name] = Verdict(pays=False, because="the stage has no second wording")
    return found
