"""A job is one trace: from its request over its wait and its attempt to its checkpoints."""

from tests.collector import Received, collecting
from tests.e2e.conftest import BASE, ServiceMaker, conversations
from tests.e2e.service import wait_for_job

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADERS = {"traceparent": f"00-{TRACE}-{CALLER}-01"}


def test_a_job_is_one_linked_trace_over_all_processes(make_service: ServiceMaker) -> None:
    with collecting() as collector:
        service = make_service(otlp_endpoint=collector.url)
        service.start()
        files, jobs = service.client.files, service.client.fine_tuning.jobs
        uploaded = files.create(file=("t.jsonl", conversations(10)), purpose="fine-tune")
        created = jobs.create(
            model=BASE,
            training_file=uploaded.id,
            hyperparameters={"n_epochs": 2},
            extra_headers=HEADERS,
        )
        wait_for_job(service, created.id)
        assert service.stop() == 0  # which sends what has not been sent
    ours = [span for span in collector.spans if span.trace_id == TRACE]
    by_id = {span.span_id: span for span in ours}

    def named(name: str) -> list[Received]:
        return [span for span in ours if span.name == name]

    (request,) = named("POST /v1/fine_tuning/jobs")
    assert (request.parent_id, request.service) == (CALLER, "tunesmith-server")
    assert request.attributes["http.response.status_code"] == 200
    for name in ("queue wait", "attempt"):
        tasks = {span.attributes["task"] for span in named(name)}
        assert tasks == {"validate", "train"}
        assert all(span.parent_id == request.span_id for span in named(name))
    assert {span.service for span in named("attempt")} == {"tunesmith-worker"}
    (training,) = [span for span in named("attempt") if span.attributes["task"] == "train"]
    saved = named("checkpoint")
    assert len(saved) >= 2  # the epochs' and the result's
    assert all(span.parent_id == training.span_id for span in saved)
    stored = named("PUT /fleet/v1/blobs/{sha256}")
    assert {by_id[span.parent_id].name for span in stored} == {"checkpoint"}
    assert all(training.start_ns <= span.start_ns <= span.end_ns for span in saved)
    assert any(span.trace_id != TRACE for span in collector.spans)  # other requests have their own
