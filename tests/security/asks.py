"""How each route is asked: a good request, with the names of ids in braces.

What belongs to an organization is named in braces wherever a request can name it: in paths, in
queries and in bodies. The walk puts in the ids of one organization or another.
"""

import json
import re
from dataclasses import dataclass, field
from typing import Any

from tests import adapter_files
from tests.contract.server import BASE
from tests.security.routes import Route
from tests.security.world import EXAMPLE, MODEL, House, Ids

ROWS = EXAMPLE * 12 % ((b"a",) * 12)
HI = [{"role": "user", "content": "Hi."}]
GRADER = {
    "type": "string_check",
    "name": "same",
    "operation": "eq",
    "input": "{{sample.output_text}}",
    "reference": "yes",
}
REGISTRATION = {
    "name": "walker",
    "incarnation": "11111111-1111-1111-1111-111111111111",
    "version": "0",
}


@dataclass(frozen=True)
class Ask:
    """`path` has the place of each parameter of the route's path, where its name is not one's."""

    path: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    body: Any = None
    form: dict[str, str] | None = None
    files: dict[str, tuple[str, bytes]] | None = None
    content: bytes | None = None


# By method and path; a route that is not here is asked without a body, for what its path names.
ASKS: dict[str, list[Ask]] = {
    "POST /v1/files": [Ask(form={"purpose": "fine-tune"}, files={"file": ("a.jsonl", ROWS)})],
    "GET /v1/files": [Ask(), Ask(query={"after": "{file_id}"})],
    "POST /v1/uploads": [
        Ask(body={"bytes": 9, "filename": "a", "purpose": "batch", "mime_type": "a/b"})
    ],
    "POST /v1/uploads/{upload_id}/parts": [Ask(files={"data": ("a", b"123")})],
    "POST /v1/uploads/{upload_id}/complete": [Ask(body={"part_ids": ["{part_id}"]})],
    "POST /v1/fine_tuning/jobs": [
        Ask(body={"model": BASE, "training_file": "{file_id}"}),
        Ask(
            body={
                "model": BASE,
                "training_file": "{own_file}",
                "validation_file": "{file_id}",
            }
        ),
        Ask(body={"model": "{name}", "training_file": "{own_file}"}),
        Ask(body={"model": "{checkpoint}", "training_file": "{own_file}"}),
        Ask(body={"model": "{model_name}", "training_file": "{own_file}"}),
    ],
    "GET /v1/fine_tuning/jobs": [
        Ask(),
        Ask(query={"after": "{job_id}"}),
        Ask(query={"metadata[word]": "{reference}"}),
    ],
    "GET /v1/fine_tuning/jobs/{job_id}/events": [Ask(), Ask(query={"after": "{event_id}"})],
    "GET /v1/fine_tuning/jobs/{job_id}/checkpoints": [
        Ask(path={"job_id": "{trained_job}"}),
        Ask(path={"job_id": "{own_trained}"}, query={"after": "{checkpoint_id}"}),
    ],
    "POST /v1/fine_tuning/checkpoints/{name}/permissions": [Ask(body={"project_ids": ["p"]})],
    "GET /v1/fine_tuning/checkpoints/{name}/permissions": [
        Ask(),
        Ask(path={"name": "{own_name}"}, query={"after": "{permission_id}"}),
    ],
    "DELETE /v1/fine_tuning/checkpoints/{name}/permissions/{permission_id}": [
        Ask(),
        Ask(path={"name": "{own_name}"}),
    ],
    "POST /v1/fine_tuning/alpha/graders/validate": [Ask(body={"grader": GRADER})],
    "POST /v1/fine_tuning/alpha/graders/run": [
        Ask(body={"grader": GRADER, "model_sample": "yes", "item": {}})
    ],
    "GET /v1/models/{name}/files": [Ask(), Ask(path={"name": "{checkpoint}"})],
    "GET /v1/models/{name}/files/{file}": [Ask(path={"file": "adapter_model.safetensors"})],
    "GET /v1/models/{name}": [
        Ask(),
        *(Ask(path={"name": f"{{{n}}}"}) for n in ("checkpoint", "model_name", "finetune_name")),
        Ask(path={"name": "{finetune}"}),
    ],
    "DELETE /v1/models/{name}": [Ask(), Ask(path={"name": "{model_name}"})],
    "POST /v1/chat/completions": [
        Ask(body={"model": f"{{{name}}}", "messages": HI})
        for name in ("name", "checkpoint", "model_name", "finetune_name", "finetune")
    ],
    "POST /v1/completions": [Ask(body={"model": "{name}", "prompt": "Hi."})],
    "POST /v1/responses": [Ask(body={"model": "{name}", "input": "Hi."})],
    "POST /v1/responses/input_tokens": [Ask(body={})],
    "POST /v1/responses/compact": [Ask(body={})],
    "POST /v1/embeddings": [Ask(body={"model": "{name}", "input": "Hi."})],
    "POST /client/v4/accounts/{account_id}/ai/finetunes": [
        Ask(body={"model": MODEL, "name": "new"}),
        Ask(path={"account_id": "{own_account}"}, body={"model": MODEL, "name": "{reference}-l"}),
    ],
    "GET /client/v4/accounts/{account_id}/ai/finetunes/{finetune}": [
        Ask(path=path)
        for path in (
            {},
            {"account_id": "{own_account}"},
            {"account_id": "{own_account}", "finetune": "{finetune_name}"},
            {"account_id": "{own_account}", "finetune": "{name}"},
        )
    ],
    "DELETE /client/v4/accounts/{account_id}/ai/finetunes/{finetune}": [
        Ask(),
        Ask(path={"account_id": "{own_account}"}),
        Ask(path={"account_id": "{own_account}", "finetune": "{finetune_name}"}),
    ],
    "GET /client/v4/accounts/{account_id}/ai/finetunes/{finetune}/finetune-assets": [
        Ask(),
        Ask(path={"account_id": "{own_account}"}),
    ],
    "GET /client/v4/accounts/{account_id}/ai/finetunes/{finetune}/finetune-assets/{file_name}": [
        Ask(path={"account_id": account, "file_name": "adapter_config.json"})
        for account in ("{account_id}", "{own_account}")
    ],
    "POST /client/v4/accounts/{account_id}/ai/finetunes/{finetune}/finetune-assets": [
        Ask(
            path={"account_id": account, "finetune": finetune},
            form={"file_name": "adapter_config.json"},
            files={"file": ("a", adapter_files.config())},
        )
        for account in ("{account_id}", "{own_account}")
        for finetune in ("{finetune}", "{finetune_name}")
    ],
    "GET /client/v4/accounts/{account_id}/ai/models/schema": [
        Ask(query={"model": MODEL}),
        Ask(path={"account_id": "{own_account}"}, query={"model": "{name}"}),
    ],
    "POST /client/v4/accounts/{account_id}/ai/run/{model}": [
        Ask(path={"model": MODEL}, body={"prompt": "Hi."}),
        *(
            Ask(
                path={"account_id": "{own_account}", "model": MODEL},
                body={"prompt": "Hi.", "lora": f"{{{lora}}}"},
            )
            for lora in ("finetune", "finetune_name", "name")
        ),
        Ask(path={"account_id": "{own_account}", "model": "{name}"}, body={"prompt": "Hi."}),
    ],
    **{
        f"POST /client/v4/accounts/{{account_id}}/ai/v1/{kind}": [
            Ask(body={"model": MODEL, **body}),
            Ask(path={"account_id": "{own_account}"}, body={"model": "{name}", **body}),
        ]
        for kind, body in (
            ("chat/completions", {"messages": HI}),
            ("completions", {"prompt": "Hi."}),
            ("responses", {"input": "Hi."}),
            ("embeddings", {"input": "Hi."}),
        )
    },
    "GET /api/v1/fine-tuning/jobs": [Ask(), Ask(query={"search": "{reference}"})],
    "POST /api/v1/fine-tuning/jobs": [
        Ask(body={"name": "a", "baseModel": BASE, "trainingDataset": f"{{{name}}}"})
        for name in ("dataset_id", "file_id", "dataset_file")
    ]
    + [
        Ask(
            body={
                "name": "a",
                "baseModel": BASE,
                "trainingDataset": "{own_dataset}",
                "validationFile": f"{{{name}}}",
            }
        )
        for name in ("dataset_id", "dataset_file")
    ]
    + [Ask(body={"name": "a", "baseModel": "{model_name}", "trainingDataset": "{own_dataset}"})],
    "POST /api/v1/fine-tuning/estimate-cost": [Ask(body={"baseModel": BASE, "datasetSize": 9})],
    "POST /api/v1/fine-tuning/estimates": [
        Ask(body={"baseModel": BASE, "examples": 9}),
        Ask(body={"baseModel": BASE, "dataset": "{dataset_id}"}),
        Ask(body={"baseModel": "{model_name}", "examples": 9}),
    ],
    "POST /api/v1/datasets": [Ask(files={"file": ("a.jsonl", ROWS)})],
    "GET /api/v1/datasets/{dataset_id}/findings": [
        Ask(),
        Ask(path={"dataset_id": "{own_dataset}"}, query={"against": "{dataset_id}"}),
    ],
    "GET /api/v1/datasets/{dataset_id}/tokens": [Ask(query={"baseModel": BASE})],
    "GET /api/v1/datasets/{dataset_id}/rows": [Ask(query={"baseModel": BASE})],
    "POST /api/v1/datasets/{dataset_id}/fix": [
        Ask(body={}),
        Ask(path={"dataset_id": "{own_dataset}"}, body={"against": "{dataset_id}"}),
    ],
    "POST /api/v1/ai/chat/completions": [
        Ask(body={"model": f"{{{name}}}", "messages": HI}) for name in ("name", "model_name")
    ],
    "POST /admin/v1/organizations": [Ask(body={"name": "New", "slug": "new"})],
    "PATCH /admin/v1/organizations/{reference}": [
        Ask(body={"name": "New"}),
        Ask(path={"reference": "{organization}"}, body={"name": "New"}),
    ],
    "GET /admin/v1/organizations/{reference}": [
        Ask(),
        Ask(path={"reference": "{organization}"}),
        Ask(path={"reference": "{account_id}"}),
    ],
    "GET /admin/v1/organizations/{reference}/quota": [
        Ask(),
        Ask(path={"reference": "{organization}"}),
    ],
    "PATCH /admin/v1/organizations/{reference}/quota": [
        Ask(body={"max_running_jobs": 9}),
        Ask(path={"reference": "{organization}"}, body={"max_running_jobs": 9}),
    ],
    "POST /admin/v1/users": [
        Ask(body={"email": "new@example.org", "name": "New"}),
        Ask(query={"organization": "{reference}"}, body={"email": "n@example.org", "name": "N"}),
    ],
    "PATCH /admin/v1/users/{user_id}": [Ask(body={"name": "New"})],
    "POST /admin/v1/keys": [
        Ask(body={"name": "New", "scopes": ["inference"]}),
        Ask(body={"name": "New", "scopes": ["inference"], "user": "{user_id}"}),
        Ask(body={"name": "New", "scopes": ["inference"], "user": "{email}"}),
    ],
    "PATCH /admin/v1/keys/{key_id}": [Ask(body={"name": "New"})],
    "POST /admin/v1/keys/{key_id}/rotate": [Ask(body={})],
    **{
        f"GET /admin/v1/{name}": [
            Ask(),
            Ask(query={"organization": "{reference}"}),
            Ask(query={"organization": "{organization}"}),
        ]
        for name in ("users", "keys", "webhooks", "audit", "audit/export", "audit/verify")
    },
    "PUT /admin/v1/base-models": [
        Ask(
            body={
                "name": "put",
                "folder": "/nowhere",
                "source": "test",
                "num_parameters": 1000,
                "context_tokens": 512,
                "learning_rate": 1e-4,
                "files": {"model.safetensors": 2000},
            }
        )
    ],
    "DELETE /admin/v1/base-models/{name}": [Ask(path={"name": "put"})],
    "POST /admin/v1/estimates": [Ask(body={"base_model": BASE, "num_examples": 9})],
    "POST /admin/v1/webhooks": [Ask(body={"url": "https://example.org/"})],
    "POST /admin/v1/jobs/{job_id}/reproduce": [Ask(path={"job_id": "{inner_trained}"})],
    "PUT /admin/v1/jobs/{job_id}/priority": [
        Ask(path={"job_id": "{inner_job}"}, body={"priority": 4})
    ],
    "POST /fleet/v1/register": [Ask(body=REGISTRATION)],
    "POST /fleet/v1/lease": [Ask(query={"task": "train"}, body=REGISTRATION)],
    "POST /fleet/v1/jobs/{job_id}/attempts/{attempt}/reports": [
        Ask(
            path={"job_id": "{inner_job}", "attempt": "9"},
            body={"sequence": 1, "reports": []},
        )
    ],
    "GET /fleet/v1/blobs/{sha256}": [Ask(path={"sha256": "0" * 64})],
    "PUT /fleet/v1/blobs/{sha256}": [
        Ask(
            path={"sha256": "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb"},
            content=b"a",
        )
    ],
    "GET /fleet/v1/base-models/{file}": [
        Ask(path={"file": "config.json"}, query={"name": "tunesmith-tiny"})
    ],
}
# Paths whose names say otherwise whose ids they take.
_RENAMED = {"/api/v1": {"job_id": "platform_job"}}
_PARAMETER = re.compile(r"\{(\w+)(?::path)?\}")


def asks_of(route: Route) -> list[Ask]:
    path = _PARAMETER.sub(r"{\1}", route.path)
    return ASKS.get(f"{route.method} {route.prefix}{path}", [Ask()])


def names_in(route: Route, ask: Ask) -> set[str]:
    """Of all ids that a request has a place for."""
    said = [_path(route, ask), json.dumps([ask.query, _plain(ask.body)])]
    return {name for text in said for name in _PARAMETER.findall(text)}


def send(house: House, route: Route, ask: Ask, ids: Ids, secret: str | None) -> Any:
    """The answer; a `KeyError` says which parameter nothing is known to be put in for."""
    content: dict[str, Any] = {}
    if ask.body is not None:
        content["json"] = filled(ask.body, ids)
    if ask.files is not None:
        content |= {"data": ask.form or {}, "files": ask.files}
    if ask.content is not None:
        content["content"] = ask.content
    query = {name: filled(value, ids) for name, value in ask.query.items()}
    return house.ask(route.method, filled_path(route, ask, ids), secret, params=query, **content)


def filled_path(route: Route, ask: Ask, ids: Ids) -> str:
    found: str = filled(_path(route, ask), ids)
    return found


def parameters_of(route: Route) -> list[str]:
    return _PARAMETER.findall(route.path)


def _path(route: Route, ask: Ask) -> str:
    renamed = _RENAMED.get(route.prefix, {})

    def place(found: re.Match[str]) -> str:
        name = found[1]
        return ask.path.get(name) or f"{{{renamed.get(name, name)}}}"

    return route.prefix + _PARAMETER.sub(place, route.path)


def filled(value: Any, ids: Ids) -> Any:
    if value is GRADER:
        return value
    if isinstance(value, str):
        return _PARAMETER.sub(lambda found: ids[found[1]], value)
    if isinstance(value, dict):
        return {name: filled(item, ids) for name, item in value.items()}
    if isinstance(value, list):
        return [filled(item, ids) for item in value]
    return value


def _plain(body: Any) -> Any:
    return None if isinstance(body, dict) and body.get("grader") is GRADER else body
