"""Holds Kubernetes manifests, on standard input, against the schemas of their kinds.

Kinds of Kubernetes itself are checked strictly against the versions named as arguments; those of
KEDA and of Prometheus' operator against the models of their own schemas. Prints what is wrong.
"""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import yaml
from cloudcoil.models.keda import v1alpha1 as keda
from cloudcoil.models.prometheus_operator import v1 as prometheus_operator
from pydantic import BaseModel, ValidationError

_MODELS: dict[tuple[str, str], type[BaseModel]] = {
    ("keda.sh/v1alpha1", "ScaledObject"): keda.ScaledObject,
    ("keda.sh/v1alpha1", "TriggerAuthentication"): keda.TriggerAuthentication,
    ("monitoring.coreos.com/v1", "PrometheusRule"): prometheus_operator.PrometheusRule,
    ("monitoring.coreos.com/v1", "ServiceMonitor"): prometheus_operator.ServiceMonitor,
}


def objections(manifest: dict[str, Any], versions: Sequence[str]) -> Iterator[str]:
    """What the schema of its kind has against a manifest."""
    model = _MODELS.get((manifest["apiVersion"], manifest["kind"]))
    if model is not None:
        yield from _of_model(manifest, model)
        return
    for version in versions:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            yield f"Kubernetes {version}: {error.message}"


def _of_model(manifest: dict[str, Any], model: type[BaseModel]) -> Iterator[str]:
    try:
        read = model.model_validate(manifest)
    except ValidationError as error:
        yield str(error)
        return
    # The models take fields that they do not know, and lose them.
    kept = read.model_dump(mode="json", by_alias=True, exclude_unset=True)
    yield from (f"{path} is no field of it" for path in _lost(manifest, kept, ""))


def _lost(given: object, kept: object, path: str) -> Iterator[str]:
    if isinstance(given, dict) and isinstance(kept, dict):
        for name, value in given.items():
            if name in kept:
                yield from _lost(value, kept[name], f"{path}.{name}")
            else:
                yield f"{path}.{name}"
    elif isinstance(given, list) and isinstance(kept, list):
        for index, (one, other) in enumerate(zip(given, kept, strict=True)):
            yield from _lost(one, other, f"{path}[{index}]")


def main() -> int:
    """Check them all; 1 where one is wrong."""
    failed = False
    for manifest in yaml.safe_load_all(sys.stdin):
        for objection in objections(manifest, sys.argv[1:]):
            failed = True
            sys.stderr.write(f"{manifest['kind']} {manifest['metadata']['name']}: {objection}\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
