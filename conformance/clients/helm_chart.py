"""Lints and renders a chart with Helm's own engine, and holds what comes of it against Kubernetes.

    python helm_chart.py CHART VALUES

`VALUES` is JSON. What was found goes to standard output as JSON.
"""

import json
import sys
from typing import Any

import helm_python
import kubernetes_validate
import yaml

FOREIGN = "monitoring.coreos.com/"  # kinds that others define


def rendered(chart: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    with helm_python.Chart.load(chart) as loaded:
        texts = loaded.render(values, name="demo", namespace="default").values()
    return [document for text in texts for document in yaml.safe_load_all(text) if document]


def refusal(document: dict[str, Any]) -> str | None:
    """What Kubernetes' schemas say against a document; strict, so that no field is unknown."""
    if document["apiVersion"].startswith(FOREIGN):
        return None
    try:
        kubernetes_validate.validate(document, "1.30", strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{document['kind']}: {error}"
    return None


def main(chart: str, values: dict[str, Any]) -> None:
    found: dict[str, Any] = {"lint": helm_python.lint(chart, values, strict=True)}
    try:
        documents = rendered(chart, values)
    except helm_python.HelmRenderError as error:
        found["error"] = str(error)
    else:
        found["documents"] = documents
        found["refused"] = [said for document in documents if (said := refusal(document))]
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
