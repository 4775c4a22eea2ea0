"""What the dashboards are made of."""

from collections.abc import Mapping

from grafana_foundation_sdk.builders import (
    bargauge,
    common,
    dashboard,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.cog.builder import Builder
from grafana_foundation_sdk.models import common as kinds
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.grafana.promql import NAMESPACE, series

Queries = Mapping[str, str]
"""PromQL expressions by the legend of the series that each gives."""

_DATASOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")
_TAG = "haiku-pipeline"
_HEIGHT = 8
_SMALL = 4


def page(title: str, uid: str, description: str) -> dashboard.Dashboard:
    """An empty dashboard with the choice of data source and namespace, linked to its siblings."""
    siblings = (
        dashboard.DashboardLink("Other dashboards")
        .type(models.DashboardLinkType.DASHBOARDS)
        .tags([_TAG])
        .as_dropdown(True)
        .include_vars(True)
        .keep_time(True)
    )
    return (
        dashboard.Dashboard(title)
        .uid(uid)
        .description(description)
        .tags([_TAG])
        .readonly()
        .refresh("10s")
        .time("now-1h", "now")
        .timezone("browser")
        .tooltip(models.DashboardCursorSync.CROSSHAIR)
        .link(siblings)
        .with_variable(dashboard.DatasourceVariable("datasource").label("Data").type("prometheus"))
        .with_variable(
            _choice("namespace", "Namespace", "label_values(pipeline_build_info, namespace)")
        )
    )


def with_stages(
    page: dashboard.Dashboard, *, told_by: str = "pipeline_assigned_partitions"
) -> dashboard.Dashboard:
    """The page with a choice of the stages that a metric tells of."""
    asked = series(told_by, NAMESPACE)
    return page.with_variable(_choice("stage", "Stage", f"label_values({asked}, stage)"))


def number(
    title: str, description: str, unit: str, expression: str, *, warn: float | None = None
) -> stat.Panel:
    """One figure as of now; orange from `warn` on."""
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(_DATASOURCE)
        .unit(unit)
        .span(3)
        .height(_SMALL)
        .thresholds(_thresholds(warn))
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .graph_mode(kinds.BigValueGraphMode.AREA)
        .with_target(_target("A", expression, ""))
    )


def lines(
    title: str,
    description: str,
    unit: str,
    queries: Queries,
    *,
    stacked: bool = False,
    warn: float | None = None,
) -> timeseries.Panel:
    """Curves over time; `warn` draws a line there."""
    panel = (
        timeseries.Panel()
        .title(title)
        .description(description)
        .datasource(_DATASOURCE)
        .unit(unit)
        .min(0)
        .span(12)
        .height(_HEIGHT)
        .line_width(1)
        .fill_opacity(30 if stacked else 5)
        .show_points(kinds.VisibilityMode.NEVER)
        .legend(_legend())
        .tooltip(common.VizTooltipOptions().mode(kinds.TooltipDisplayMode.MULTI))
        .targets([*_targets(queries)])
    )
    if stacked:
        panel.stacking(common.StackingConfig().mode(kinds.StackingMode.NORMAL))
    if warn is not None:
        panel.thresholds(_thresholds(warn)).thresholds_style(
            common.GraphThresholdsStyleConfig().mode(kinds.GraphThresholdsStyleMode.DASHED)
        )
    return panel


def bars(title: str, description: str, unit: str, queries: Queries) -> bargauge.Panel:
    """One bar for each series, as of now."""
    return (
        bargauge.Panel()
        .title(title)
        .description(description)
        .datasource(_DATASOURCE)
        .unit(unit)
        .min(0)
        .span(12)
        .height(_HEIGHT)
        .thresholds(_thresholds(None))
        .orientation(kinds.VizOrientation.HORIZONTAL)
        .display_mode(kinds.BarGaugeDisplayMode.BASIC)
        .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        .targets([target.instant() for target in _targets(queries)])
    )


def rows(title: str, description: str, expression: str) -> table.Panel:
    """One row for each series, its labels as columns."""
    return (
        table.Panel()
        .title(title)
        .description(description)
        .datasource(_DATASOURCE)
        .span(24)
        .height(6)
        .with_target(_target("A", expression, "").instant().format(PromQueryFormat.TABLE))
    )


def with_panels(
    page: dashboard.Dashboard, title: str, *panels: Builder[models.Panel]
) -> dashboard.Dashboard:
    """The page with a further row of panels under a title."""
    page.with_row(dashboard.Row(title))
    for panel in panels:
        page.with_panel(panel)
    return page


def _choice(name: str, label: str, query: str) -> dashboard.QueryVariable:
    return (
        dashboard.QueryVariable(name)
        .label(label)
        .datasource(_DATASOURCE)
        .query(query)
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")  # matches, too, where there is no such label at all
        .current(models.VariableOption(text="All", value="$__all", selected=True))
    )


def _target(ref: str, expression: str, legend: str) -> prometheus.Dataquery:
    return (
        prometheus.Dataquery()
        .ref_id(ref)
        .datasource(_DATASOURCE)
        .expr(expression)
        .legend_format(legend)
    )


def _targets(queries: Queries) -> list[prometheus.Dataquery]:
    return [
        _target(chr(ord("A") + index), expression, legend)
        for index, (legend, expression) in enumerate(queries.items())
    ]


def _thresholds(warn: float | None) -> dashboard.ThresholdsConfig:
    steps = [models.Threshold(value=None, color="green")]
    if warn is not None:
        steps.append(models.Threshold(value=warn, color="orange"))
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _legend() -> common.VizLegendOptions:
    return (
        common.VizLegendOptions()
        .show_legend(True)
        .display_mode(kinds.LegendDisplayMode.TABLE)
        .placement(kinds.LegendPlacement.BOTTOM)
        .calcs(["lastNotNull", "max"])
    )
