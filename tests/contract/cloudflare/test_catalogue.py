"""The catalogue, as wrangler and the SDKs walk through it."""

import re
from dataclasses import replace
from typing import Any

import cloudflare
import httpx
import jsonschema
import pytest

from tests.contract.cloudflare.support import MODEL, Account, refused, result
from tests.contract.server import BASE, Server
from tunesmith.domain.accounts import Scope

TASK = "c329a1f9-323d-4e91-b2aa-582dd4188d34"


def search(account: Account, **query: Any) -> list[dict[str, Any]]:
    body = account.http.get("/models/search", params=query).json()
    assert (body["success"], body["errors"]) == (True, []), body
    assert body["result_info"]["count"] == len(body["result"])
    found: list[dict[str, Any]] = body["result"]
    return found


def names(account: Account, **query: Any) -> list[str]:
    return sorted(model["name"] for model in search(account, **query))


def test_a_model_has_all_that_clients_look_for(account: Account) -> None:
    (model,) = search(account, search=MODEL)
    assert re.fullmatch("[0-9a-f-]{36}", model["id"])
    assert (model["source"], model["name"], model["tags"]) == (1, MODEL, [])
    assert (model["task"]["id"], model["task"]["name"]) == (TASK, "Text Generation")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}", model["created_at"])
    properties = {item["property_id"]: item["value"] for item in model["properties"]}
    assert properties["lora"] == "true"
    assert properties["context_window"].isdigit()
    assert properties["function_calling"] == "true"
    assert search(account, search=MODEL) == [model]


def test_what_is_known_of_a_model_is_told(server: Server, account: Account) -> None:
    (plain,) = search(account, author="acme")
    assert [item["property_id"] for item in plain["properties"]] == ["context_window", "lora"]
    with server.database.write() as store:
        known = store.models.find_base(BASE)
        assert known is not None
        store.models.put_base(replace(known, description="Small.", calls_functions=True))
    try:
        (model,) = search(account, search="small")
    finally:
        with server.database.write() as store:
            store.models.put_base(known)
    assert (model["name"], model["description"]) == (BASE, "Small.")
    assert {"property_id": "function_calling", "value": "true"} in model["properties"]
    assert model["id"] == str(known.id)


def test_the_operators_folders_are_told_to_nobody(account: Account) -> None:
    assert "/" not in search(account, search=MODEL)[0]["description"]


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ({}, [MODEL, BASE]),
        ({"search": "TINY-LORA"}, [MODEL]),
        ({"search": "nothing"}, []),
        ({"task": "Text Generation"}, [MODEL, BASE]),
        ({"task": TASK}, [MODEL, BASE]),
        ({"task": "Translation"}, []),
        ({"author": "acme"}, [BASE]),
        ({"author": "tunesmith"}, [MODEL]),
        ({"author": "nobody"}, []),
        ({"source": 1}, [MODEL, BASE]),
        ({"source": 2}, []),
        ({"hide_experimental": "true", "include_deprecated": "true"}, [MODEL, BASE]),
        ({"format": ""}, [MODEL, BASE]),
    ],
)
def test_a_search_is_narrowed(account: Account, query: dict[str, Any], found: list[str]) -> None:
    assert names(account, **query) == sorted(found)


def test_pages_are_as_long_as_asked_and_empty_past_the_end(account: Account) -> None:
    pages = [search(account, per_page=1, page=page) for page in (1, 2, 3)]
    assert [len(page) for page in pages] == [1, 1, 0]
    assert pages[0] != pages[1]
    assert len(search(account, per_page=50, page=1)) == 2


@pytest.mark.parametrize("query", ["page=0", "per_page=0", "page=x", "source=x", "format=x"])
def test_a_query_that_cannot_be_is_refused(account: Account, query: str) -> None:
    (error,) = refused(account.http.get(f"/models/search?{query}"), 400, 3003)
    assert error["source"]["pointer"] == "/" + query.partition("=")[0]


@pytest.mark.parametrize("model", [MODEL, "tiny-llama", BASE])
def test_the_schemas_of_a_model_are_those_of_its_requests(account: Account, model: str) -> None:
    schemas = result(account.http.get("/models/schema", params={"model": model}))
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    taken = jsonschema.Draft202012Validator(schemas["input"])
    assert taken.is_valid({"prompt": "Hi.", "max_tokens": 5, "lora": "mine"})
    assert taken.is_valid({"messages": [{"role": "user", "content": "Hi."}]})
    assert not taken.is_valid({"lora": "mine"})
    assert not taken.is_valid({"prompt": "Hi.", "top_k": 51})
    answer = result(account.http.post(f"/run/{model}", json={"prompt": "Hi."}))
    jsonschema.validate(answer, schemas["output"])


def test_only_models_that_are_there_have_schemas(account: Account) -> None:
    refused(account.http.get("/models/schema?model=@cf/no/such"), 400, 5007)
    refused(account.http.get("/models/schema"), 400, 3003)


def test_tasks_and_authors_are_listed(account: Account) -> None:
    (task,) = result(account.http.get("/tasks/search"))
    assert (task["id"], task["name"]) == (TASK, "Text Generation")
    authors = result(account.http.get("/authors/search/"))
    assert [author["name"] for author in authors] == ["acme", "tunesmith"]
    assert all(author["id"] for author in authors)


@pytest.mark.parametrize("path", ["models/search", "models/schema?model=tiny", "tasks/search"])
def test_a_key_that_reads_nothing_reads_no_catalogue(server: Server, path: str) -> None:
    with Account(server, server.new_caller(frozenset({Scope.INFERENCE}))) as account:
        refused(account.http.get(f"/{path}"), 403, 10000)


def test_files_are_not_turned_into_markdown(account: Account) -> None:
    refused(account.http.post("/tomarkdown"), 404, 7003, 7000)


def test_the_sdk_walks_to_the_end(client: cloudflare.Cloudflare, account: Account) -> None:
    found: list[Any] = list(client.ai.models.list(account_id=account.id, per_page=1))
    assert sorted(model["name"] for model in found) == sorted([MODEL, BASE])
    schema: Any = client.ai.models.schema.get(account_id=account.id, model=MODEL)
    assert schema.input
    assert schema.output
    assert client.ai.tasks.list(account_id=account.id)
    assert client.ai.authors.list(account_id=account.id)


def test_wranglers_query_is_taken_as_it_stands(account: Account) -> None:
    query = "per_page=50&page=1&author=acme&hide_experimental=true&source=1&task=Text+Generation"
    answer = account.http.get(httpx.URL(f"/models/search?{query}"))
    assert [model["name"] for model in result(answer)] == [BASE]
