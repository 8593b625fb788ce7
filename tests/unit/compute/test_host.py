"""The process around the engine, without the process."""

import io
import queue
from pathlib import Path

import pytest

from tests.tiny_models import make_tiny_llama
from tunesmith.compute.host import Host
from tunesmith.engine.events import Embedded, SampleDone
from tunesmith.engine.messages import CancelSample, Command, Embed, Sample, decode, encode
from tunesmith.engine.model import BaseModel
from tunesmith.engine.spec import EmbedSpec, SampleSpec


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    folder: Path = make_tiny_llama(tmp_path_factory.mktemp("models") / "tiny")
    return BaseModel.load(folder)


def told_by(model: BaseModel, *asked: Command) -> list[object]:
    commands: queue.Queue[Command] = queue.Queue()
    for command in asked:
        commands.put(decode(encode(command)))
    out = io.StringIO()
    host = Host(model, commands, out)
    host._obey()
    host._answer(60.0)
    return [decode(line) for line in out.getvalue().splitlines()]


def test_embeddings_do_not_stall_answers_nor_answers_embeddings(model: BaseModel) -> None:
    texts = [Embed(spec=EmbedSpec(request_id=f"e{n}", text="the sea " * 130)) for n in range(90)]
    answer = SampleSpec(request_id="a", prompt="the", max_tokens=4, ignore_end_of_text=True)
    told = told_by(model, *texts, Sample(spec=answer))
    embedded = [at for at, one in enumerate(told) if isinstance(one, Embedded)]
    [ended] = [at for at, one in enumerate(told) if isinstance(one, SampleDone)]
    assert len(embedded) == 90
    assert embedded[0] < ended < embedded[-1]


def test_what_is_cancelled_is_not_told(model: BaseModel) -> None:
    specs = [EmbedSpec(request_id=name, text="the sea") for name in ("kept", "cancelled")]
    asked = [*(Embed(spec=spec) for spec in specs), CancelSample(request_id="cancelled")]
    told = told_by(model, *asked)
    assert [one.request_id for one in told if isinstance(one, Embedded)] == ["kept"]
