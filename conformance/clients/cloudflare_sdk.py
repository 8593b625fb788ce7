"""Finetunes and answers through Cloudflare's Python client, of any version.

Run with the path of a file that describes the account; says as JSON what the client saw.
"""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import cloudflare
from cloudflare import AsyncCloudflare, Cloudflare

given = json.loads(Path(sys.argv[1]).read_text())
ACCOUNT, MODEL, OPTIONS = given["id"], given["model"], given["options"]
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
IS_OLD = cloudflare.__version__.startswith("4.")
NAME = f"python-{cloudflare.__version__}"
SERVER = {"max_retries": 0, "base_url": given["base_url"]}

client = Cloudflare(api_token=given["token"], **SERVER)
seen: dict[str, Any] = {"version": cloudflare.__version__}


def upload(finetune: str, file_name: str, path: Path | None = None) -> bool:
    """The newer clients hand over the envelope, the older ones what is in it."""
    path = path or Path(given["adapter"]) / file_name
    asset = client.ai.finetunes.assets.create(
        finetune, account_id=ACCOUNT, file=path, file_name=file_name
    )
    return len(asset.finetune_id) == 36 if IS_OLD else asset.success


def other_config() -> Path:
    """As good as the adapter's own, and not the same."""
    config = json.loads((Path(given["adapter"]) / CONFIG).read_bytes())
    path = Path(sys.argv[1]).with_name("other.json")
    path.write_text(json.dumps({**config, "inference_mode": not config.get("inference_mode")}))
    return path


def finetunes() -> str:
    made = client.ai.finetunes.create(
        account_id=ACCOUNT, model=MODEL, name=NAME, description="of a test", public=False
    )
    again = client.ai.finetunes.create(account_id=ACCOUNT, model=MODEL, name=NAME)
    seen["created"] = [made.name == NAME, made.model, made.public, made.description]
    seen["created again"] = again.id == made.id
    seen["uploaded"] = [upload(made.id, WEIGHTS), upload(NAME, CONFIG)]
    seen["uploaded again"] = upload(made.id, WEIGHTS)
    listed = {found.id: found for found in client.ai.finetunes.list(account_id=ACCOUNT)}
    seen["listed"] = [listed[made.id].name == NAME, listed[made.id].model]
    return made.id


def public() -> None:
    name = f"{NAME}-for-all"
    made = client.ai.finetunes.create(account_id=ACCOUNT, model=MODEL, name=name, public=True)
    seen["uploaded for all"] = [upload(made.id, CONFIG), upload(made.id, WEIGHTS)]
    found = list(
        client.ai.finetunes.public.list(
            account_id=ACCOUNT, limit=5, offset=0, order_by="created_at"
        )
    )
    seen["public"] = [name in [one.name for one in found], {one.public for one in found} == {True}]


def run(finetune: str) -> None:
    user, system = given["question"][1]["content"], given["question"][0]["content"]
    prompts = {"account_id": ACCOUNT, "prompt": user, **OPTIONS}
    talks = {"account_id": ACCOUNT, "messages": given["question"], **OPTIONS}
    base = client.ai.run(MODEL, **talks)["response"]
    tuned = [
        client.ai.run(MODEL, **talks, extra_body={"lora": lora})["response"]
        for lora in (NAME, finetune, f"{NAME}-for-all")
    ]
    seen["the base says something else"] = base not in tuned
    seen["tuned"] = tuned
    answer = client.ai.run(MODEL, **prompts, lora=NAME)
    seen["prompt"] = [sorted(answer), sorted(answer["usage"])]
    raw = client.ai.run(MODEL, **{**prompts, "prompt": f"{system} {user}"}, raw=True, lora=NAME)
    seen["raw"] = isinstance(raw["response"], str)
    with client.ai.with_streaming_response.run(
        MODEL, **talks, stream=True, extra_body={"lora": NAME}
    ) as response:
        lines = [line.removeprefix("data: ") for line in response.iter_lines() if line]
    seen["end of the stream"] = [lines[-1], sorted(json.loads(lines[-2]))]
    seen["a stream says the same"] = "".join(json.loads(line)["response"] for line in lines[:-1])


def catalogue() -> None:
    models = list(client.ai.models.list(account_id=ACCOUNT, per_page=1))
    names = [model["name"] for model in models]
    seen["models are on pages, which end"] = [len(names) >= 2, len(set(names)) == len(names)]
    (model,) = (model for model in models if model["name"] == MODEL)
    seen["model"] = [
        model["task"]["name"],
        {"property_id": "lora", "value": "true"} in model["properties"],
    ]
    seen["found"] = [
        found["name"] for found in client.ai.models.list(account_id=ACCOUNT, search="tiny-lora")
    ]
    schema = client.ai.models.schema.get(account_id=ACCOUNT, model=MODEL)
    schema = schema if isinstance(schema, dict) else schema.to_dict()
    seen["schema"] = sorted(schema)
    seen["tasks"] = [task["name"] for task in client.ai.tasks.list(account_id=ACCOUNT)]
    authors = [author["name"] for author in client.ai.authors.list(account_id=ACCOUNT)]
    seen["author"] = "tunesmith" in authors


def whoami() -> None:
    seen["token"] = client.user.tokens.verify().status
    by_email = Cloudflare(api_email=given["email"], api_key=given["key"], **SERVER)
    seen["by e-mail and key"] = [account.id == ACCOUNT for account in by_email.accounts.list()]
    seen["lists by e-mail and key"] = len(list(by_email.ai.finetunes.list(account_id=ACCOUNT))) > 0


def refuse(finetune: str) -> None:
    def refused(what: str, call: Any, /, *arguments: Any, **named: Any) -> None:
        try:
            call(*arguments, **named)
        except cloudflare.APIStatusError as error:
            (first, *_) = error.errors
            refusals[what] = [type(error).__name__, error.status_code, first.code]
            messages[what] = first.message
        else:
            refusals[what] = None

    def other(**credentials: Any) -> Any:
        return Cloudflare(**credentials, **SERVER)

    refusals: dict[str, Any] = {}
    messages: dict[str, str] = {}
    mine = {"account_id": ACCOUNT}
    wrong = other(api_token="wrong")
    create = client.ai.finetunes.create
    refused("wrong token", wrong.ai.finetunes.list, **mine)
    refused("wrong token verified", wrong.user.tokens.verify)
    refused("malformed token", other(api_token="two words").ai.finetunes.list, **mine)
    refused("e-mail without key", other(api_email=given["email"]).ai.finetunes.list, **mine)
    stranger = other(api_email="bob@example.org", api_key=given["key"])
    refused("another's e-mail", stranger.ai.finetunes.list, **mine)
    reader = other(api_token=given["read_only"])
    refused("read only", reader.ai.finetunes.create, **mine, model=MODEL, name="r")
    refused(
        "read only upload",
        reader.ai.finetunes.assets.create,
        finetune,
        **mine,
        file=b"",
        file_name=CONFIG,
    )
    refused("foreign account", client.ai.finetunes.list, account_id="0" * 32)
    refused("no account", client.ai.finetunes.list, account_id="me")
    refused("no such model", create, **mine, model="@cf/no/model", name="n")
    refused("name in use", create, **mine, model=MODEL, name=NAME)
    refused("reserved name", create, **mine, model=MODEL, name="cf-public-n")
    empty = create(**mine, model=MODEL, name=f"{NAME}-empty").id
    refused("rank 64", upload, empty, CONFIG, Path(given["broad"]) / CONFIG)
    refused("pickle", upload, empty, "adapter_model.bin", Path(given["broad"]) / WEIGHTS)
    refused("no finetune", upload, "nobody", CONFIG)
    refused("other bytes", upload, finetune, CONFIG, other_config())
    refused("order", client.ai.finetunes.public.list, **mine, order_by="colour")
    asked = {**mine, "prompt": "Hi."}
    refused("run without files", client.ai.run, MODEL, **asked, lora=f"{NAME}-empty")
    refused("unknown lora", client.ai.run, MODEL, **asked, lora="nobody")
    refused("lora of another model", client.ai.run, "tunesmith-tiny", **asked, lora=NAME)
    refused("run no such model", client.ai.run, "@cf/no/model", **asked)
    refused("run no name", client.ai.run, "@cf", **asked)
    refused("no prompt", client.ai.run, MODEL, **mine, prompt="")
    refused("too long", client.ai.run, MODEL, **mine, prompt="word " * 5000)
    refused("no such path", client.get, f"/accounts/{ACCOUNT}/ai/nothing", cast_to=object)
    seen["refused"], seen["messages"] = refusals, messages


async def asynchronously() -> None:
    async with AsyncCloudflare(api_token=given["token"], **SERVER) as other:
        found = await other.ai.finetunes.list(account_id=ACCOUNT)
        answer = await other.ai.run(
            MODEL,
            account_id=ACCOUNT,
            messages=given["question"],
            extra_body={"lora": NAME},
            **OPTIONS,
        )
        names = [model["name"] async for model in other.ai.models.list(account_id=ACCOUNT)]
    seen["asynchronously"] = [
        NAME in [one.name for one in found],
        answer["response"],
        MODEL in names,
    ]


def main() -> None:
    finetune = finetunes()
    public()
    run(finetune)
    catalogue()
    whoami()
    refuse(finetune)
    asyncio.run(asynchronously())
    print(json.dumps(seen))


main()
