"""Makes the Helm chart of deploy/helm from what kustomize builds of deploy/kubernetes/base.

What differs from place to place becomes a value: the image, the settings, how many replicas, what
the stages read, and how KEDA reaches the brokers. With the defaults the chart gives the objects of
the base.
"""

import re
import subprocess
from pathlib import Path
from typing import Any

import yaml

_ROOT = Path(__file__).parents[1]
_BASE = _ROOT / "deploy" / "kubernetes" / "base"
_HEADER = "# Generated from deploy/kubernetes/base by `python -m deploy.generate`.\n"
_CONFIG_NAME = "haiku-pipeline-{{ toYaml .Values.settings | sha256sum | trunc 10 }}"
_PARTITIONS = "{{ .Values.settings.PIPELINE_TOPICS__PARTITIONS }}"
_SETTINGS = "{{- toYaml .Values.settings | nindent 2 }}"
_KEDA = """\
{{- with $.Values.keda.metadata }}{{ toYaml . | nindent 6 }}{{ end }}
    {{- with $.Values.keda.authentication }}
    authenticationRef: {name: {{ . }}}
    {{- end }}"""
_TRIGGER = re.compile(r"  - type: kafka (\w+)\n(.*?) KEDA: ''\n", re.DOTALL)
_EACH_TOPIC = rf"""  {{{{- range index .Values.topics "\1" }}}}
  - type: kafka
\2 {{{{- with . }}}}
      limitToPartitionsWithLag: 'true'
      topic: {{{{ . }}}}
      {{{{- end }}}}
      {_KEDA}
  {{{{- end }}}}
"""
"""Without a topic KEDA looks at all of the group, and cannot count the partitions that lag."""


def built() -> list[dict[str, Any]]:
    """The objects of the base."""
    installed = _ROOT / ".tools" / "bin" / "kubectl"
    program = str(installed) if installed.exists() else "kubectl"
    text = subprocess.run(  # noqa: S603 - our own arguments
        [program, "kustomize", str(_BASE)], check=True, capture_output=True, text=True
    ).stdout
    return list(yaml.safe_load_all(text))


def files(version: str, rule: str) -> dict[str, str]:
    """The text of each file of the chart, by its path in it; `rule` is the PrometheusRule."""
    objects = built()
    [config] = [each for each in objects if each["kind"] == "ConfigMap"]
    [rules] = [each for each in objects if each["kind"] == "PrometheusRule"]
    rest = [each for each in objects if each is not rules]
    rules["spec"] = yaml.safe_load(rule)["spec"]  # that of the base may not be written yet
    chart = {
        "apiVersion": "v2",
        "name": "haiku-pipeline",
        "description": "A stream processor between Kafka and Claude.",
        "version": version,
        "appVersion": version,
    }
    triggers = [
        trigger["metadata"]
        for each in rest
        if each["kind"] == "ScaledObject"
        for trigger in each["spec"]["triggers"]
    ]
    topics = {_stage(each): [each["topic"]] for each in triggers}
    values = {
        "image": "haiku-pipeline",
        "minReplicas": 1,
        "settings": config["data"],
        "topics": dict(sorted(topics.items())),
        "keda": {"metadata": {}, "authentication": ""},
    }
    return {
        "Chart.yaml": _HEADER + _dump(chart),
        "values.yaml": _HEADER + _dump(values),
        # Its own braces are Prometheus': a file is not a template.
        "files/prometheus-rule.yaml": _dump(rules),
        "templates/prometheus-rule.yaml": '{{ .Files.Get "files/prometheus-rule.yaml" }}\n',
        "templates/objects.yaml": _HEADER
        + "---\n".join(_template(each, config["metadata"]["name"]) for each in rest),
    }


def _dump(value: object) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, width=100)
    return text


def _template(one: dict[str, Any], config: str) -> str:
    if one["kind"] == "ConfigMap":
        one = one | {"data": "SETTINGS"}
    if one["kind"] == "ScaledObject":
        one["spec"] |= {
            "minReplicaCount": "MINIMUM",
            "maxReplicaCount": "PARTITIONS",
            # The last key, since what takes its place adds keys to what is above it, too.
            "triggers": [
                {
                    "type": f"{each['type']} {_stage(each['metadata'])}",
                    "metadata": {
                        name: value
                        for name, value in each["metadata"].items()
                        if name not in {"topic", "limitToPartitionsWithLag"}
                    }
                    | {"KEDA": ""},
                }
                for each in one["spec"]["triggers"]
            ],
        }
    text = _dump(one)
    if one["kind"] == "ScaledObject":
        text = _TRIGGER.sub(_EACH_TOPIC, text)
    return (
        text.replace(config, _CONFIG_NAME)
        .replace(" SETTINGS\n", f"\n  {_SETTINGS}\n")
        .replace("image: haiku-pipeline\n", "image: {{ .Values.image | quote }}\n")
        .replace(" MINIMUM\n", " {{ .Values.minReplicas }}\n")
        .replace(" PARTITIONS\n", f" {_PARTITIONS}\n")
    )


def _stage(trigger: dict[str, Any]) -> str:
    """Whose group a trigger follows."""
    return str(trigger["consumerGroup"]).rpartition(".")[2]
