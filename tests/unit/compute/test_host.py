"""The process around the engine, without the process."""

import io
import queue
from pathlib import Path
from typing import Any

import pytest

from tests.tiny_models import make_tiny_llama, write_jsonl
from tunesmith.compute.host import Host
from tunesmith.engine.events import Embedded, Finished, SampleDone, Started, StepDone, Stopped
from tunesmith.engine.messages import (
    AbandonRun,
    CancelSample,
    Command,
    Embed,
    OpenRun,
    RunEvent,
    RunFailed,
    Sample,
    StopRun,
    decode,
    encode,
)
from tunesmith.engine.model import BaseModel
from tunesmith.engine.spec import EmbedSpec, SampleSpec, TrainSpec


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    folder: Path = make_tiny_llama(tmp_path_factory.mktemp("models") / "tiny")
    return BaseModel.load(folder)


class Talk:
    """With a host that takes as many turns as it is told."""

    def __init__(self, model: BaseModel, **options: Any) -> None:
        self._commands: queue.Queue[Command] = queue.Queue()
        self._out = io.StringIO()
        self.host = Host(model, self._commands, self._out, **options)

    def say(self, *commands: Command) -> None:
        for command in commands:
            self._commands.put(decode(encode(command)))
        self.host._obey()

    def turn(self) -> None:
        """Answers get a step each: there is no time for more."""
        self.host._train_on()
        self.host._answer(0.0)

    @property
    def told(self) -> list[Any]:
        return [decode(line) for line in self._out.getvalue().splitlines()]

    @property
    def events(self) -> list[Any]:
        return [one.event for one in self.told if isinstance(one, RunEvent)]


def told_by(model: BaseModel, *asked: Command) -> list[object]:
    talk = Talk(model)
    talk.say(*asked)
    talk.host._answer(60.0)
    return talk.told


def spec(tmp_path: Path, run_id: str, **changes: Any) -> TrainSpec:
    rows = [{"prompt": f"the sea is number {i}", "completion": f" blue {i}"} for i in range(8)]
    fields: dict[str, Any] = {
        "training_file": write_jsonl(tmp_path / f"{run_id}.jsonl", rows),
        "output_dir": tmp_path / run_id,
        "num_epochs": 1,
        "batch_size": 8,
        "learning_rate": 1e-3,
        "seed": 1,
        "max_length_tokens": 100,
    }
    return TrainSpec(run_id=run_id, **{**fields, **changes})


def test_who_asks_waits_for_one_pass_and_not_for_a_whole_step(
    model: BaseModel, tmp_path: Path
) -> None:
    talk = Talk(model)
    talk.say(OpenRun(spec=spec(tmp_path, "run", micro_batch_tokens=20)))
    while not talk.events:
        talk.turn()
    assert isinstance(talk.events[-1], Started)
    talk.say(Embed(spec=EmbedSpec(request_id="asked", text="the sea")))
    talk.turn()
    assert isinstance(talk.told[-1], Embedded)
    assert not any(isinstance(event, StepDone) for event in talk.events)
    for _ in range(20):
        talk.turn()
    assert isinstance(talk.events[-1], Finished)


def test_many_runs_are_open_at_once_and_no_more_than_there_is_room_for(
    model: BaseModel, tmp_path: Path
) -> None:
    talk = Talk(model)
    specs = [spec(tmp_path, f"run-{number}") for number in range(17)]
    talk.say(*(OpenRun(spec=one) for one in specs))
    [refused] = talk.told
    assert isinstance(refused, RunFailed)
    assert (refused.run_id, refused.code) == ("run-16", "too_many_runs")
    talk.say(StopRun(run_id="run-1"), AbandonRun(run_id="run-2"))
    for _ in range(100):
        talk.turn()
    ends = [one for one in talk.told if isinstance(one, RunEvent)]
    ended = {one.run_id: type(one.event) for one in ends}
    others = {f"run-{number}": Finished for number in range(16) if number not in (1, 2)}
    assert ended == {"run-1": Stopped, **others}


def test_the_share_of_time_for_answers_is_kept(
    model: BaseModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Enough(Exception):
        pass

    def answer(self: Host, seconds: float) -> None:
        raise Enough(seconds)

    monkeypatch.setattr(Host, "_obey", lambda self: None)
    monkeypatch.setattr(Host, "_train_on", lambda self: 3.0)
    monkeypatch.setattr(Host, "_answer", answer)
    for share, seconds in ((0.5, 3.0), (0.25, 1.0), (0.0, 0.0)):
        with pytest.raises(Enough) as raised:
            Talk(model, answering_share=share).host.work()
        assert raised.value.args[0] == pytest.approx(seconds)


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
