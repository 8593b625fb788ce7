"""Weights of strangers: nothing in them is run, and what is malformed is refused at once."""

import json
import pickle
import random
from pathlib import Path

import pytest

from tests import adapter_files
from tests.security.world import MODEL, House, Tenant
from tunesmith.services import tensor_headers

NUM_MUTATIONS = 5_000


class Canary:
    """Writes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self) -> object:
        return (Path.touch, (self._path,))


@pytest.fixture
def finetune(house: House, rival: Tenant) -> str:
    path = f"/client/v4/accounts/{rival.owner.id.hex}/ai/finetunes"
    body = {"model": MODEL, "name": f"weights-{random.randrange(10**9)}"}
    return f"{path}/{rival.ask('POST', path, json=body)['result']['id']}/finetune-assets"


def upload(house: House, rival: Tenant, path: str, name: str, content: bytes) -> tuple[int, str]:
    answer = house.ask(
        "POST",
        path,
        rival.secret,
        data={"file_name": name},
        files={"file": (name, content)},
    )
    return answer.status_code, answer.text


@pytest.mark.parametrize(
    "name",
    ["adapter_model.bin", "adapter_model.pt", "model.pkl", "adapter_model.safetensors", "a.py"],
)
def test_pickles_are_refused_and_never_opened(
    house: House, rival: Tenant, finetune: str, tmp_path: Path, name: str
) -> None:
    canary = tmp_path / "canary"
    for content in (pickle.dumps(Canary(canary)), b"PK\x03\x04" + pickle.dumps(Canary(canary))):
        status, _ = upload(house, rival, finetune, name, content)
        assert 400 <= status < 500
    assert not canary.exists()


@pytest.mark.parametrize(
    "more",
    [
        {"auto_map": {"AutoModel": "evil.Model"}},
        {"auto_mapping": {"base_model_class": "os", "parent_library": "os"}},
        {"corda_config": {"a": 1}},
        {"peft_type": "X-LORA"},
    ],
    ids=lambda more: next(iter(more)),
)
def test_a_configuration_that_asks_for_code_does_not_get_it(
    house: House, rival: Tenant, finetune: str, more: dict[str, object]
) -> None:
    status, said = upload(
        house, rival, finetune, "adapter_config.json", adapter_files.config(**more)
    )
    if status == 200:  # kept as it came; the engine reads the numbers of it alone
        assert "auto_map" not in more
    else:
        assert 400 <= status < 500, said


def test_a_template_beside_an_adapter_is_not_taken(
    house: House, rival: Tenant, finetune: str
) -> None:
    """Chat templates come with the operator's base models alone."""
    for name in ("chat_template.jinja", "tokenizer_config.json", "tokenizer.json"):
        status, _ = upload(house, rival, finetune, name, b"{{ ''.__class__ }}")
        assert 400 <= status < 500


def test_malformed_headers_are_refused_or_whole(tmp_path: Path) -> None:
    """The seed is fixed; what is let in says of each byte whose it is."""
    chance = random.Random(6)
    good = adapter_files.weights(rank=1)
    header_bytes = 8 + int.from_bytes(good[:8], "little")
    refused, path = 0, tmp_path / "weights"
    for _ in range(NUM_MUTATIONS):
        content = bytearray(good[: header_bytes + 64] if chance.random() < 0.2 else good)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(header_bytes)
            match chance.randrange(4):
                case 0:
                    content[place] = chance.randrange(256)
                case 1:
                    del content[place : place + chance.randint(1, 8)]
                case 2:
                    content[place:place] = chance.randbytes(chance.randint(1, 8))
                case 3:
                    content[:8] = chance.choice((0, 1, 2**31, 2**63, 2**64 - 1)).to_bytes(
                        8, "little"
                    )
        path.write_bytes(content)
        try:
            tensors = tensor_headers.read(path)
        except tensor_headers.BadHeader:
            refused += 1
        else:
            size = int.from_bytes(content[:8], "little")
            assert len(tensors) == len(json.loads(content[8 : 8 + size]).keys() - {"__metadata__"})
    assert refused > NUM_MUTATIONS * 0.8
