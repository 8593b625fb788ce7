"""The chart, by Helm's own lint and renderer, and by the schemas of Kubernetes."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conformance.conftest import Figure
from conformance.environments import ROOT, environment, python_with

CHART = ROOT / "deploy" / "helm" / "tunesmith"
SCRIPT = ROOT / "conformance" / "clients" / "helm_chart.py"
WARNING = 2  # Helm's severities
ALWAYS = [
    *("Deployment demo-server", "PersistentVolumeClaim demo-data", "Service demo-server"),
    *("Service demo-worker", "StatefulSet demo-worker"),
]
EVERYTHING = {
    "existingSecret": "keys",
    "server": {"settings": {"LOG_LEVEL": "info"}, "storage": {"className": "fast"}},
    "worker": {
        "replicas": 2,
        "settings": {"MAX_RUNS": 2},
        "gpu": {"count": 1},
        "storage": {"className": "fast"},
    },
    "metrics": {"serviceMonitor": True},
}


@pytest.fixture(scope="session")
def helm() -> Path:
    return python_with("helm", "helm-python-sdk==0.2.2", "kubernetes-validate==1.37.0")


def judged(helm: Path, values: dict[str, Any]) -> dict[str, Any]:
    command = [helm, SCRIPT, CHART, json.dumps(values)]
    done = subprocess.run(command, env=environment(), check=True, stdout=subprocess.PIPE)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.parametrize(
    ("values", "more"),
    [
        ({"adminKey": "a"}, ["Secret demo-keys"]),
        ({"adminKey": "a", "databaseUrl": "postgresql://a"}, ["Secret demo-keys"]),
        (EVERYTHING, ["ServiceMonitor demo"]),
    ],
    ids=["least", "a database", "everything"],
)
def test_the_chart_is_rendered_and_kubernetes_takes_it(
    helm: Path, figure: Figure, values: dict[str, Any], more: list[str]
) -> None:
    found = judged(helm, values)
    assert [m for m in found["lint"]["messages"] if m["severity"] >= WARNING] == []
    assert (found["lint"]["errors"], found["refused"]) == ([], [])
    named = [f"{d['kind']} {d['metadata']['name']}" for d in found["documents"]]
    assert sorted(named) == sorted([*ALWAYS, *more])
    figure("Helm chart", "linted, rendered and valid for Kubernetes 1.30")


def test_the_chart_says_what_it_needs(helm: Path) -> None:
    assert "adminKey, or existingSecret" in judged(helm, {})["error"]
