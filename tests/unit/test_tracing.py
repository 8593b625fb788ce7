"""Places in a trace are passed on whether or not anybody collects spans."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from tests.collector import Collector, collecting
from tunesmith.tracing import spans

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        spans.start(collector.url, "test")
        yield collector
        spans.stop()


@pytest.mark.parametrize("parent", [PARENT, None])
def test_without_a_collector_a_span_is_its_parents_place(parent: str | None) -> None:
    with spans.span("anything", parent) as span:
        span.add(a=1)
        span.name("else")
        assert span.traceparent == parent
    assert not spans.is_on()


@pytest.mark.parametrize(
    "sent",
    [
        None,
        "",
        "nothing",
        PARENT.upper(),
        PARENT + "-more",
        "01" + PARENT[2:],
        f"00-{'0' * 32}-b7ad6b7169203331-01",
        f"00-0af7651916cd43dd8448eb211c80319c-{'0' * 16}-01",
    ],
)
def test_what_is_no_place_in_a_trace_is_not_kept(sent: str | None) -> None:
    assert spans.valid(sent) is None
    assert spans.valid(PARENT) == PARENT


def test_spans_are_linked_and_come_with_their_attributes(collector: Collector) -> None:
    with (
        spans.span("outer", PARENT) as outer,
        spans.span("inner", outer.traceparent, is_request=True) as inner,
    ):
        inner.add(http__route="/a", count=2)
        inner.name("renamed")
    began = datetime(2026, 1, 1, tzinfo=UTC)
    spans.record("past", inner.traceparent, began, began + timedelta(seconds=2), task="train")
    spans.stop()
    found = {span.name: span for span in collector.spans}
    assert found.keys() == {"outer", "renamed", "past"}
    assert {span.trace_id for span in collector.spans} == {PARENT[3:35]}
    assert found["outer"].parent_id == PARENT[36:52]
    assert found["renamed"].parent_id == found["outer"].span_id
    assert found["past"].parent_id == found["renamed"].span_id
    assert found["past"].end_ns - found["past"].start_ns == 2_000_000_000
    assert found["renamed"].attributes == {"http.route": "/a", "count": 2}
    assert found["past"].attributes == {"task": "train"}


def test_a_place_that_is_not_sampled_stays_so(collector: Collector) -> None:
    with spans.span("quiet", PARENT[:-2] + "00") as span:
        assert span.traceparent is not None
        assert span.traceparent.endswith("-00")
    spans.stop()
    assert collector.spans == []
