"""A job is paused and goes on, in real processes, and ends as if nothing had been."""

from tests.e2e.recipes import adapter_of, create_job
from tests.e2e.service import Service, steps_done, wait_for_job, wait_until

NUM_STEPS = 1200  # at a hundred or more a second: the pause must come about before the end


def test_a_paused_and_resumed_job_ends_like_one_that_was_not(service: Service) -> None:
    jobs = service.client.fine_tuning.jobs
    job_id = create_job(service, n_epochs=4, batch_size=1)
    wait_until(lambda: len(steps_done(service, job_id)) > 20, "some steps")

    assert jobs.pause(job_id).status == "running"
    wait_until(lambda: str(jobs.retrieve(job_id).status) == "paused", "the pause", 20)

    snapshot = jobs.checkpoints.list(job_id).data[0]
    done = steps_done(service, job_id)
    assert snapshot.step_number == done[-1] < NUM_STEPS
    model = snapshot.fine_tuned_model_checkpoint
    assert model.endswith(f":ckpt-step-{done[-1]}")
    answer = service.client.chat.completions.create(
        model=model, messages=[{"role": "user", "content": "Hi"}], max_completion_tokens=5
    )
    assert answer.choices[0].finish_reason in ("stop", "length")

    unbroken = wait_for_job(
        service, create_job(service, n_epochs=4, batch_size=1)
    )  # the worker is free meanwhile
    assert steps_done(service, job_id) == done
    assert jobs.resume(job_id).status == "queued"
    resumed = wait_for_job(service, job_id)

    assert steps_done(service, job_id) == list(range(1, NUM_STEPS + 1))
    final = adapter_of(service, resumed.fine_tuned_model)
    assert final == adapter_of(service, unbroken.fine_tuned_model)
    assert final != adapter_of(service, model)
