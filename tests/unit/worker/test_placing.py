import queue
import threading
from pathlib import Path

import pytest

from tests.factories import base_model
from tests.unit.worker.fakes import FakeHost, FakeLauncher
from tunesmith.domain.assignments import Resident, Room
from tunesmith.domain.errors import Unavailable
from tunesmith.engine.events import (
    Finished,
    SampleDone,
    SampleEvent,
    SampleFailed,
    Started,
    TextDelta,
)
from tunesmith.engine.messages import (
    TOO_MANY_RUNS,
    AdapterFailed,
    CancelSample,
    HostFailed,
    LoadAdapter,
    RunEvent,
    RunFailed,
    Sample,
    StopRun,
    UnloadAdapter,
)
from tunesmith.engine.spec import SampleSpec
from tunesmith.worker import host as host_module
from tunesmith.worker.host import Host, HostLost, ModelRefused
from tunesmith.worker.placing import Hosts, NoRoom

STARTED = Started(
    step=0,
    total_steps=1,
    num_examples=1,
    num_validation_examples=0,
)


class Scene:
    def __init__(self, max_hosts: int = 1, launcher: FakeLauncher | None = None) -> None:
        self.launcher = launcher or FakeLauncher()
        self.answers: queue.Queue[SampleEvent] = queue.Queue()
        self.hosts = Hosts(self.launcher, max_hosts, self.answers.put)

    def place(self, name: str = "base", fingerprint: str | None = None) -> Host:
        base = base_model(name, fingerprint=fingerprint)
        return self.hosts.place(base, lambda: Path("/model"))

    @property
    def process(self) -> FakeHost:
        return self.launcher.hosts[-1]

    def answer(self) -> SampleEvent:
        return self.answers.get(timeout=10)


def sample(request_id: str = "one", adapter_id: str | None = None) -> Sample:
    return Sample(spec=SampleSpec(request_id=request_id, adapter_id=adapter_id, prompt="a"))


def test_a_base_model_whose_weights_were_changed_is_loaded_anew() -> None:
    scene = Scene()
    before = scene.place(fingerprint="old")
    assert scene.place(fingerprint="new") is not before
    assert scene.launcher.hosts[0].is_ended
    assert scene.launcher.launched == ["base", "base"]


def test_changed_weights_wait_for_who_works_with_the_old_ones() -> None:
    scene = Scene()
    before = scene.place(fingerprint="old")
    before.follow("mine")
    with pytest.raises(NoRoom):
        scene.place(fingerprint="new")
    assert scene.place(fingerprint="old") is before


def test_a_host_with_an_owner_is_nobody_elses_and_ends_with_it() -> None:
    scene = Scene(max_hosts=2)
    base = base_model("base")
    scene.hosts.claim(base, "a job")
    assert scene.hosts.room() == Room(residents=(), takes_others=True)
    own = scene.hosts.place(base, lambda: Path("/model"), "a job")
    shared = scene.place()
    assert own is not shared
    assert scene.hosts.place(base, lambda: Path("/model"), "a job") is own
    assert [r.base_model for r in scene.hosts.room().residents] == ["base"]
    shared.follow("another")
    with pytest.raises(NoRoom):
        scene.place("other")
    scene.hosts.end(base, "a job")
    scene.hosts.unclaim(base, "a job")
    assert scene.launcher.hosts[0].is_ended
    assert not scene.launcher.hosts[1].is_ended
    scene.place("other")


def test_while_there_is_no_host_the_next_one_is_prepared() -> None:
    scene = Scene()
    base = base_model()
    assert scene.launcher.num_prepared == 1
    scene.hosts.place(base, lambda: Path("/model"), "a job")
    assert scene.launcher.num_prepared == 1
    scene.hosts.end(base, "a job")
    assert scene.launcher.num_prepared == 2


def lost(scene: Scene, *, lacked_memory: bool) -> None:
    told = scene.place().follow("run")
    scene.process.end(lacked_memory=lacked_memory)
    assert isinstance(told.get(timeout=10), HostLost)


def takes_two(scene: Scene) -> bool:
    base = base_model("base")
    scene.hosts.claim(base)
    [resident] = scene.hosts.room().residents
    scene.hosts.unclaim(base)
    return resident.takes_more


def test_hosts_that_lacked_memory_have_smaller_passes_and_in_the_end_one_run_at_a_time() -> None:
    scene = Scene()
    lost(scene, lacked_memory=False)
    assert takes_two(scene)
    lost(scene, lacked_memory=True)
    assert takes_two(scene)
    lost(scene, lacked_memory=True)
    assert not takes_two(scene)
    told = scene.place().follow("run")
    assert not takes_two(scene)
    assert scene.launcher.num_halvings == [0, 0, 1, 2]
    assert scene.hosts.num_halvings(base_model("base"), "") == 2
    assert scene.hosts.num_halvings(base_model("base"), "a job") == 0
    finished = Finished(step=1, path=Path("/adapter"), trained_tokens=1)
    scene.process.say(RunEvent(run_id="run", event=finished))
    told.get(timeout=10)
    assert takes_two(scene)


def test_a_host_of_ones_own_that_lacked_memory_has_smaller_passes_the_next_time() -> None:
    scene = Scene()
    base = base_model("base")
    told = scene.hosts.place(base, lambda: Path("/model"), "a job").follow("run")
    scene.process.end(lacked_memory=True)
    told.get(timeout=10)
    scene.hosts.end(base, "a job")
    scene.hosts.place(base, lambda: Path("/model"), "a job")
    assert scene.launcher.num_halvings == [0, 1]


def test_a_base_model_is_loaded_once() -> None:
    scene = Scene()
    assert scene.place() is scene.place()
    assert scene.launcher.launched == ["base"]


def test_many_who_want_a_base_model_at_once_get_one_host() -> None:
    scene = Scene()
    threads = [threading.Thread(target=scene.place) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert scene.launcher.launched == ["base"]


def test_a_run_hears_what_the_host_tells_about_it_alone() -> None:
    scene = Scene()
    told = scene.place().follow("mine")
    scene.process.say(
        RunEvent(run_id="other", event=STARTED), RunEvent(run_id="mine", event=STARTED)
    )
    assert told.get(timeout=10) == RunEvent(run_id="mine", event=STARTED)
    assert told.empty()


def test_a_lost_host_is_told_to_all_who_wait_on_it() -> None:
    scene = Scene()
    host = scene.place()
    told = host.follow("mine")
    host.answer(sample())
    scene.process.end("signal SIGKILL")
    lost = told.get(timeout=10)
    assert isinstance(lost, HostLost)
    assert lost.reason == "signal SIGKILL"
    answer = scene.answer()
    assert isinstance(answer, SampleFailed)
    assert (answer.request_id, answer.code) == ("one", "host_lost")
    assert not host.is_alive


@pytest.mark.parametrize("line", ['{"is":"StepDone","of":"mi', "Loading weights: 50%", '{"is":5}'])
def test_a_host_that_dies_in_the_middle_of_a_word_is_lost(line: str) -> None:
    scene = Scene()
    told = scene.place().follow("mine")
    scene.process.say_line(line)
    assert isinstance(told.get(timeout=10), HostLost)
    assert scene.process.is_ended


def test_who_follows_or_asks_a_host_that_is_gone_hears_of_it() -> None:
    scene = Scene()
    host = scene.place()
    first = host.follow("first")
    scene.process.end()
    first.get(timeout=10)
    assert isinstance(host.follow("second").get(timeout=10), HostLost)
    host.answer(sample())
    assert isinstance(scene.answer(), SampleFailed)


def test_a_lost_host_is_replaced() -> None:
    scene = Scene()
    host = scene.place()
    told = host.follow("mine")
    scene.process.end()
    told.get(timeout=10)
    assert scene.place() is not host
    assert scene.launcher.launched == ["base", "base"]


def test_an_idle_host_makes_room_for_another_base_model() -> None:
    scene = Scene()
    scene.place("first")
    first = scene.process
    scene.place("second")
    assert first.is_ended
    assert scene.launcher.launched == ["first", "second"]


@pytest.mark.parametrize("work", ["a run", "an answer"])
def test_a_busy_host_makes_no_room(work: str) -> None:
    scene = Scene()
    host = scene.place("first")
    if work == "a run":
        host.follow("mine")
    else:
        host.answer(sample())
    with pytest.raises(NoRoom, match="TUNESMITH_MAX_HOSTS"):
        scene.place("second")
    assert not scene.process.is_ended


def test_of_several_idle_hosts_the_longest_unused_one_goes() -> None:
    scene = Scene(max_hosts=2)
    scene.place("first")
    scene.place("second")
    scene.place("first")
    scene.place("third")
    assert [host.is_ended for host in scene.launcher.hosts] == [False, True, False]


def test_a_model_that_the_engine_does_not_take_is_refused_for_good() -> None:
    failed = HostFailed(code="unsupported_model", message="No attention that we know.")
    scene = Scene(launcher=FakeLauncher(failed))
    with pytest.raises(ModelRefused, match="attention") as refused:
        scene.place()
    assert refused.value.code == "unsupported_model"


def test_a_host_that_dies_while_it_loads_may_do_better_next_time() -> None:
    scene = Scene()

    def folder() -> Path:
        threading.Timer(0.01, lambda: scene.process.end("signal SIGKILL")).start()
        return Path("/model")

    scene.launcher.first_words = (RunEvent(run_id="nobody", event=STARTED),)
    with pytest.raises(Unavailable, match="SIGKILL"):
        scene.hosts.place(base_model(), folder)


def test_answers_are_handed_on_until_they_are_done() -> None:
    scene = Scene()
    host = scene.place()
    host.answer(sample())
    assert host.is_busy
    delta = TextDelta(request_id="one", text="Hi", num_tokens=1)
    done = SampleDone(request_id="one", finish_reason="stop", prompt_tokens=1, completion_tokens=1)
    scene.process.say(delta, done)
    assert [scene.answer(), scene.answer()] == [delta, done]
    assert not host.is_busy


def test_only_an_answer_that_is_being_given_is_cancelled() -> None:
    scene = Scene()
    host = scene.place()
    host.answer(sample("one"))
    scene.hosts.cancel("one")
    scene.hosts.cancel("one")
    scene.hosts.cancel("unknown")
    assert isinstance(scene.process.next_command(), Sample)
    assert scene.process.next_command() == CancelSample(request_id="one")
    assert not scene.process.has_commands()


def test_an_adapter_is_fetched_and_loaded_once() -> None:
    scene = Scene()
    host = scene.place()
    fetched = []

    def fetch() -> Path:
        fetched.append(1)
        return Path("/adapters/a")

    for _ in range(3):
        host.ensure_adapter("a", fetch)
    assert fetched == [1]
    assert scene.process.next_command() == LoadAdapter(adapter_id="a", path=Path("/adapters/a"))
    assert not scene.process.has_commands()


def test_an_adapter_that_was_refused_is_tried_again() -> None:
    scene = Scene()
    host = scene.place()
    told = host.follow("mine")
    host.ensure_adapter("a", lambda: Path("/a"))
    scene.process.say(
        AdapterFailed(adapter_id="a", code="bad_adapter", message="No."),
        RunEvent(run_id="mine", event=STARTED),
    )
    told.get(timeout=10)
    host.ensure_adapter("a", lambda: Path("/a"))
    assert [type(scene.process.next_command()) for _ in range(2)] == [LoadAdapter, LoadAdapter]


def test_the_longest_unused_adapter_makes_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "MAX_ADAPTERS", 2)
    scene = Scene()
    host = scene.place()
    for adapter_id in ("a", "b", "a", "c"):
        host.ensure_adapter(adapter_id, lambda: Path("/x"))
    commands = [scene.process.next_command() for _ in range(4)]
    assert commands[2] == UnloadAdapter(adapter_id="b")


def test_an_adapter_that_is_answering_makes_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module, "MAX_ADAPTERS", 1)
    scene = Scene()
    host = scene.place()
    host.ensure_adapter("a", lambda: Path("/x"))
    host.answer(sample(adapter_id="a"))
    host.ensure_adapter("b", lambda: Path("/x"))
    commands = [scene.process.next_command() for _ in range(3)]
    assert [type(command) for command in commands] == [LoadAdapter, Sample, LoadAdapter]


def test_a_command_to_a_host_that_is_gone_is_nothing() -> None:
    scene = Scene()
    host = scene.place()
    scene.process.end()
    host.send(StopRun(run_id="mine"))


def test_closing_ends_all_hosts() -> None:
    scene = Scene(max_hosts=2)
    scene.place("first")
    scene.place("second")
    scene.hosts.close()
    assert all(host.is_ended for host in scene.launcher.hosts)
    assert scene.launcher.is_closed


def resident(name: str = "base", takes_more: bool = True) -> Resident:
    return Resident(base_model=name, fingerprint=None, takes_more=takes_more)


def test_a_worker_without_hosts_has_room_for_any_base_model() -> None:
    assert Scene().hosts.room() == Room(residents=(), takes_others=True)


def test_a_base_model_that_trains_takes_more_of_its_own_alone() -> None:
    scene = Scene()
    scene.hosts.claim(base_model())
    assert scene.hosts.room() == Room(residents=(resident(),), takes_others=False)
    scene.hosts.unclaim(base_model())
    assert scene.hosts.room() == Room(residents=(), takes_others=True)


def test_an_idle_host_is_resident_and_would_make_room() -> None:
    scene = Scene()
    scene.place()
    assert scene.hosts.room() == Room(residents=(resident(),), takes_others=True)


def test_a_place_is_kept_before_its_base_model_is_loaded() -> None:
    scene = Scene()
    scene.hosts.claim(base_model("first"))
    with pytest.raises(NoRoom):
        scene.place("second")
    scene.place("first")
    assert scene.launcher.launched == ["first"]


def test_a_host_that_is_claimed_makes_no_room() -> None:
    scene = Scene()
    scene.hosts.claim(base_model("first"))
    scene.place("first")
    with pytest.raises(NoRoom):
        scene.hosts.claim(base_model("second"))
    assert not scene.process.is_ended


def test_a_second_host_has_room_for_another_base_model() -> None:
    scene = Scene(max_hosts=2)
    for name in ("first", "second"):
        scene.hosts.claim(base_model(name))
        scene.place(name)
    assert scene.launcher.launched == ["first", "second"]
    assert not scene.hosts.room().takes_others


def test_a_host_that_turns_a_run_away_is_offered_no_more_until_one_has_ended() -> None:
    scene = Scene()
    for _ in range(2):
        scene.hosts.claim(base_model())
    host = scene.place()
    host.follow("first")
    told = host.follow("second")
    scene.process.say(RunFailed(run_id="second", code=TOO_MANY_RUNS, message="A run is open."))
    told.get(timeout=10)
    host.unfollow("second")
    scene.hosts.unclaim(base_model())
    assert scene.hosts.room() == Room(residents=(resident(takes_more=False),), takes_others=False)
    scene.hosts.unclaim(base_model())
    assert scene.hosts.room().residents == (resident(takes_more=True),)


def test_a_lost_host_leaves_its_room() -> None:
    scene = Scene()
    told = scene.place("first").follow("mine")
    scene.process.end()
    told.get(timeout=10)
    assert scene.hosts.room() == Room(residents=(), takes_others=True)
    scene.place("second")


def test_the_table_of_hosts_is_at_hand_while_a_base_model_loads() -> None:
    scene = Scene(max_hosts=2)
    may_load = threading.Event()

    def slow_folder() -> Path:
        assert may_load.wait(10)
        return Path("/model")

    loading = threading.Thread(target=scene.hosts.place, args=(base_model(), slow_folder))
    loading.start()
    scene.hosts.claim(base_model("other"))  # would hang
    assert scene.launcher.launched == []
    may_load.set()
    loading.join(10)


def test_runs_that_train_at_the_same_time_have_company() -> None:
    scene = Scene()
    host = scene.place()
    queues = {run_id: host.follow(run_id) for run_id in ("first", "second", "third")}
    scene.process.say(
        RunEvent(run_id="first", event=STARTED),
        RunEvent(run_id="second", event=STARTED),
        RunFailed(run_id="third", code=TOO_MANY_RUNS, message="No room."),
    )
    queues["third"].get(timeout=10)
    assert [host.was_accompanied(run_id) for run_id in queues] == [True, True, False]


def test_runs_one_after_another_have_none() -> None:
    scene = Scene()
    host = scene.place()
    for run_id in ("first", "second"):
        told = host.follow(run_id)
        scene.process.say(RunEvent(run_id=run_id, event=STARTED))
        told.get(timeout=10)
        assert not host.was_accompanied(run_id)
        host.unfollow(run_id)
