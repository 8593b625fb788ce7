"""An adapter that was trained elsewhere, by Cloudflare's client: register, upload, run."""

import json
from collections.abc import Iterator
from typing import Any

import cloudflare
import pytest

from tests import adapter_files
from tests.e2e.service import ADMIN_KEY, Service

TINY = "tunesmith-tiny"
PROMPT = "The weather in Ulm is"


@pytest.fixture(scope="module")
def client(service: Service) -> Iterator[cloudflare.Cloudflare]:
    with cloudflare.Cloudflare(
        api_token=ADMIN_KEY, base_url=f"{service.url}/client/v4", max_retries=0, timeout=120
    ) as client:
        yield client


@pytest.fixture(scope="module")
def account_id(service: Service) -> str:
    with service.http as http:
        found: str = http.get("/client/v4/accounts").json()["result"][0]["id"]
    return found


def uploaded(client: cloudflare.Cloudflare, account_id: str, name: str, weights: bytes) -> None:
    finetune: Any = client.ai.finetunes.create(account_id=account_id, model=TINY, name=name)
    files = {
        "adapter_config.json": adapter_files.config(),
        "adapter_model.safetensors": weights,
    }
    for file_name, content in files.items():
        client.ai.finetunes.assets.create(
            finetune.id, account_id=account_id, file=content, file_name=file_name
        )


def test_an_uploaded_adapter_changes_the_answer(
    client: cloudflare.Cloudflare, account_id: str, service: Service
) -> None:
    uploaded(client, account_id, "nothing", adapter_files.weights())
    uploaded(client, account_id, "strong", adapter_files.weights(fill=b"\x3e"))

    def run(**fields: Any) -> str:
        answer: Any = client.ai.run(
            TINY, account_id=account_id, prompt=PROMPT, max_tokens=24, temperature=0, **fields
        )
        return str(answer["response"])

    plain = run()
    assert plain
    assert run(lora="nothing") == plain
    strong = run(lora="strong")
    assert strong != plain
    assert run(lora="strong", raw=True) != run(raw=True)

    with client.ai.with_streaming_response.run(
        TINY,
        account_id=account_id,
        prompt=PROMPT,
        max_tokens=24,
        temperature=0,
        lora="strong",
        stream=True,
    ) as answer:
        frames = [line for line in answer.iter_lines() if line.startswith("data: {")]
    pieces = [json.loads(frame.removeprefix("data: ")) for frame in frames]
    assert "".join(piece["response"] for piece in pieces) == strong
    assert pieces[-1]["usage"]["completion_tokens"] <= 24


def test_the_sampling_of_this_api_reaches_the_model(
    client: cloudflare.Cloudflare, account_id: str
) -> None:
    def run(**fields: Any) -> str:
        answer: Any = client.ai.run(
            TINY, account_id=account_id, prompt=PROMPT, max_tokens=24, **fields
        )
        return str(answer["response"])

    greedy = run(temperature=0)
    assert run(temperature=5, top_k=1) == greedy
    assert run(temperature=5, seed=1) != greedy
    assert run(temperature=0, repetition_penalty=2) != greedy
