import queue
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast
from uuid import uuid4

import pytest
from pydantic import TypeAdapter
from websockets.sync.server import Server, ServerConnection, serve

from tests.factories import embed_request, sample_request
from tests.unit.worker.fakes import FakeClient, FakeHost, FakeLauncher
from tunesmith.domain.assignments import (
    AdapterSource,
    Answered,
    AskAgain,
    Asked,
    JobsWait,
    Likely,
    News,
    NoMoreRequests,
    SampleCancel,
    SampleOutput,
    SamplePart,
    TokenLogprob,
    ToolCall,
)
from tunesmith.domain.errors import NotFound
from tunesmith.domain.files import Artifact
from tunesmith.engine import events
from tunesmith.engine.events import Embedded, SampleDone, SampleFailed, TextDelta, ToolCalled
from tunesmith.engine.messages import (
    CancelSample,
    Command,
    Embed,
    LoadAdapter,
    Message,
    Sample,
    decode,
    encode,
)
from tunesmith.engine.spec import EmbedSpec
from tunesmith.worker import answering
from tunesmith.worker.answering import Answering
from tunesmith.worker.placing import Hosts
from tunesmith.worker.prepare import Workshop

_REQUEST: TypeAdapter[Asked] = TypeAdapter(Asked)
_ANSWERED: TypeAdapter[list[Answered]] = TypeAdapter(list[Answered])


def test_a_request_becomes_what_the_engine_is_asked() -> None:
    request = sample_request(
        adapter=AdapterSource(id="abc", artifacts=()),
        max_tokens=5,
        temperature=0.5,
        top_p=0.9,
        frequency_penalty=0.1,
        presence_penalty=0.2,
        stop=("\n",),
        seed=3,
    )
    spec = asdict(answering._spec(request))
    asked = asdict(request)
    assert spec["adapter_id"] == "abc"
    shared = asked.keys() & spec.keys()
    assert {name: spec[name] for name in shared} == {name: asked[name] for name in shared}
    assert asked.keys() - shared == {"base_model", "adapter"}


@pytest.mark.parametrize(
    ("event", "output"),
    [
        (
            TextDelta(request_id="one", text="Hi", num_tokens=2),
            SampleOutput(request_id="one", part=SamplePart.DELTA, text="Hi", completion_tokens=2),
        ),
        (
            SampleDone(
                request_id="one", finish_reason="stop", prompt_tokens=3, completion_tokens=2
            ),
            SampleOutput(
                request_id="one",
                part=SamplePart.DONE,
                finish_reason="stop",
                prompt_tokens=3,
                completion_tokens=2,
            ),
        ),
        (
            TextDelta(
                request_id="one",
                text="H",
                num_tokens=1,
                logprobs=(
                    events.TokenLogprob(
                        token="H",
                        token_bytes=(72,),
                        logprob=-0.5,
                        top=(events.Likely(token="H", token_bytes=(72,), logprob=-0.5),),
                    ),
                ),
            ),
            SampleOutput(
                request_id="one",
                part=SamplePart.DELTA,
                text="H",
                completion_tokens=1,
                logprobs=(
                    TokenLogprob(
                        token="H",
                        token_bytes=(72,),
                        logprob=-0.5,
                        top=(Likely(token="H", token_bytes=(72,), logprob=-0.5),),
                    ),
                ),
            ),
        ),
        (
            ToolCalled(request_id="one", index=1, name="f", arguments='{"a": 1}'),
            SampleOutput(
                request_id="one",
                part=SamplePart.TOOL_CALL,
                tool_call=ToolCall(index=1, name="f", arguments='{"a": 1}'),
            ),
        ),
        (
            Embedded(request_id="one", embedding=(0.6, 0.8), prompt_tokens=3),
            SampleOutput(
                request_id="one",
                part=SamplePart.EMBEDDING,
                embedding=(0.6, 0.8),
                prompt_tokens=3,
            ),
        ),
        (
            SampleFailed(request_id="one", code="prompt_too_long", message="Too long."),
            SampleOutput(
                request_id="one",
                part=SamplePart.FAILED,
                code="prompt_too_long",
                message="Too long.",
            ),
        ),
    ],
    ids=["delta", "done", "logprobs", "tool call", "embedding", "failed"],
)
def test_what_the_engine_says_becomes_what_the_server_hears(
    event: events.SampleEvent, output: SampleOutput
) -> None:
    assert answering._output(decode(encode(event))) == output


class Scene:
    """A worker that answers, and the server's end of its connection."""

    def __init__(self, folder: Path, launcher: FakeLauncher) -> None:
        self.client = FakeClient()
        self.launcher = launcher
        self.folder = folder
        self.connections: list[ServerConnection] = []
        self.heard: list[SampleOutput] = []
        self.is_leaving = threading.Event()
        self.heeded: queue.Queue[News] = queue.Queue()
        self.is_dismissed = False
        self.answering: Answering
        self.news = threading.Condition()

    def serve(self, connection: ServerConnection) -> None:
        with self.news:
            self.connections.append(connection)
            self.news.notify_all()
        for line in connection:
            with self.news:
                for answered in _ANSWERED.validate_json(line):
                    if isinstance(answered, NoMoreRequests):
                        self.is_dismissed = True
                    else:
                        self.heard.append(answered)
                self.news.notify_all()

    def ask(self, message: Asked) -> None:
        self.wait_for(lambda: bool(self.connections))
        self.connections[-1].send(_REQUEST.dump_json(message).decode())

    def wait_for(self, claim: Any) -> None:
        with self.news:
            assert self.news.wait_for(claim, timeout=10)

    def host(self) -> FakeHost:
        deadline = time.monotonic() + 10
        while not self.launcher.hosts:
            assert time.monotonic() < deadline
            time.sleep(0.002)
        return self.launcher.hosts[0]

    def parts(self, count: int) -> list[SamplePart]:
        self.wait_for(lambda: len(self.heard) >= count)
        return [output.part for output in self.heard]


@contextmanager
def listening(scene: Scene) -> Iterator[Server]:
    with serve(scene.serve, "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setattr(answering, "_RECONNECT_SECONDS", 0.01)
    launcher = FakeLauncher()

    def reply(command: Command) -> list[Message]:
        if isinstance(command, Embed):
            id_ = command.spec.request_id
            return [Embedded(request_id=id_, embedding=(1.0,), prompt_tokens=2)]
        if not isinstance(command, Sample) or command.spec.request_id == "endless":
            return []
        request_id = command.spec.request_id
        done = SampleDone(
            request_id=request_id, finish_reason="stop", prompt_tokens=1, completion_tokens=1
        )
        return [TextDelta(request_id=request_id, text="Hi", num_tokens=1), done]

    launcher.reply = reply
    scene = Scene(tmp_path, launcher)
    with listening(scene) as server:
        client = cast(Any, scene.client)
        client.server_url = f"http://127.0.0.1:{server.socket.getsockname()[1]}"
        told = Answering(
            client,
            "box",
            Workshop(client, tmp_path / "work", name="box"),
            scene.is_leaving,
        )
        scene.answering = told
        told.start(Hosts(launcher, 1, told.tell), scene.heeded.put)
        yield scene
        told.close()
        for connection in scene.connections:
            connection.close()


def test_a_request_is_answered_over_the_connection(scene: Scene) -> None:
    scene.ask(sample_request())
    assert scene.parts(2) == [SamplePart.DELTA, SamplePart.DONE]
    (connection,) = scene.connections
    assert connection.request is not None
    assert connection.request.path == "/fleet/v1/tokens?worker=box"
    assert connection.request.headers["Authorization"] == "Bearer ts_key"


def test_a_tuned_models_adapter_is_loaded_before_it_is_asked(scene: Scene) -> None:
    weights = Artifact(name="adapter_model.safetensors", blob=scene.client.put(b"weights"))
    scene.ask(sample_request(adapter=AdapterSource(id="abc", artifacts=(weights,))))
    scene.parts(2)
    host = scene.launcher.hosts[0]
    assert [type(host.next_command()) for _ in range(2)] == [LoadAdapter, Sample]


def test_a_cancelled_request_is_cancelled_at_the_host(scene: Scene) -> None:
    scene.ask(sample_request("endless"))
    host = scene.host()
    assert isinstance(host.next_command(), Sample)
    scene.ask(SampleCancel(request_id="endless"))
    assert host.next_command() == CancelSample(request_id="endless")


def test_when_the_connection_breaks_nobody_needs_the_answers_any_more(scene: Scene) -> None:
    scene.ask(sample_request("endless"))
    host = scene.host()
    assert isinstance(host.next_command(), Sample)
    scene.connections[0].close()
    assert host.next_command() == CancelSample(request_id="endless")


def test_a_model_that_cannot_be_had_is_a_failed_answer(scene: Scene) -> None:
    scene.client.trouble = NotFound("blob", "abc")
    weights = Artifact(name="adapter_model.safetensors", blob=scene.client.put(b"weights"))
    scene.ask(sample_request(adapter=AdapterSource(id="abc", artifacts=(weights,))))
    assert scene.parts(1) == [SamplePart.FAILED]
    assert scene.heard[0].code == "unavailable"


def test_a_connection_that_breaks_is_opened_again(scene: Scene) -> None:
    scene.wait_for(lambda: len(scene.connections) == 1)
    scene.connections[0].close()
    scene.wait_for(lambda: len(scene.connections) == 2)
    scene.ask(sample_request())
    assert scene.parts(2) == [SamplePart.DELTA, SamplePart.DONE]


def test_everything_asked_for_reaches_the_host(scene: Scene) -> None:
    asked = sample_request(
        logit_bias={5: -1.5},
        top_logprobs=2,
        echo=True,
        tools=[{"type": "function", "function": {"name": "f"}}],
        required_tools=("f",),
        parallel_tool_calls=False,
        json_schema={"type": "object"},
    )
    scene.ask(asked)
    scene.parts(2)
    assert scene.host().next_command() == Sample(spec=answering._spec(asked))


def test_an_embedding_is_made_over_the_connection(scene: Scene) -> None:
    scene.ask(embed_request(text=None, token_ids=[3, 4]))
    assert scene.parts(1) == [SamplePart.EMBEDDING]
    embed = Embed(spec=EmbedSpec(request_id="one", token_ids=[3, 4]))
    assert scene.host().next_command() == embed
    assert scene.heard[0].embedding == (1.0,)


def test_a_worker_that_is_leaving_says_so_and_finishes_what_it_was_asked(scene: Scene) -> None:
    scene.ask(sample_request("endless"))
    host = scene.host()
    assert isinstance(host.next_command(), Sample)
    scene.is_leaving.set()
    scene.wait_for(lambda: scene.is_dismissed)
    scene.ask(sample_request("late"))  # on its way before the server heard
    scene.ask(NoMoreRequests(no_more_requests=True))
    assert scene.parts(2) == [SamplePart.DELTA, SamplePart.DONE]

    finishing = threading.Thread(target=scene.answering.finish)
    finishing.start()
    assert finishing.is_alive()
    done = SampleDone(
        request_id="endless", finish_reason="stop", prompt_tokens=1, completion_tokens=1
    )
    host.say(done)
    finishing.join(10)
    assert not finishing.is_alive()
    assert scene.parts(3)[-1] == SamplePart.DONE


def test_news_are_heeded_and_with_each_connection_jobs_may_wait(scene: Scene) -> None:
    assert scene.heeded.get(timeout=10) == JobsWait(jobs_wait=True)
    for news in (AskAgain(ask_again=uuid4()), JobsWait(jobs_wait=True)):
        scene.ask(news)
        assert scene.heeded.get(timeout=10) == news
