"""A recipe that the platform API was asked for is the one that was trained."""

import json
from typing import Any

from tests.e2e.conftest import BASE, conversations
from tests.e2e.service import Service, wait_until

JOBS = "/api/v1/fine-tuning/jobs"
RECIPE = {
    "epochs": 5,
    "learningRate": 1e-30,  # so that nothing is learned, and the validation loss does not fall
    "loraRank": 2,
    "loraAlpha": 6,
    "loraTargets": ["q_proj", "v_proj"],
    "useRslora": True,
    "learningRateSchedule": "constant",
    "weightDecay": 0.01,
    "maxGradNorm": 0.5,
    "earlyStoppingPatience": 2,
}


def test_a_recipe_is_trained_as_asked_and_ends_early(service: Service) -> None:
    with service.http as http:

        def dataset(num_rows: int) -> Any:
            files = {"file": ("t.jsonl", conversations(num_rows))}
            return http.post("/api/v1/datasets", files=files).raise_for_status().json()["id"]

        body = {
            "name": "recipe",
            "baseModel": BASE,
            "trainingDataset": dataset(16),
            "validationFile": dataset(10),
            "hyperparameters": RECIPE,
        }
        created = http.post(JOBS, json=body).raise_for_status()
        job = f"{JOBS}/{created.json()['id']}"
        wait_until(lambda: http.get(job).json()["finishedAt"] is not None, "the job's end")

        ended = http.get(job).json()
        assert ended["status"] == "completed", ended["error"]
        logs = http.get(f"{job}/logs").json()["logs"]
        # Three of five epochs, of two steps each: the first loss counts as a fall.
        assert any("early, after step 6 of 10" in line["message"] for line in logs), logs

        http.post(f"{job}/deploy").raise_for_status()
        models = [m["id"] for m in http.get("/v1/models").json()["data"]]
        [tuned] = [m for m in models if m.startswith("ft:") and ":ckpt-" not in m]
        files = f"/v1/models/{tuned}/files"
        adapter = http.get(f"{files}/adapter_config.json").raise_for_status().json()
        lock = json.loads(http.get(f"{files}/job.lock").raise_for_status().content)

    assert (adapter["r"], adapter["lora_alpha"], adapter["use_rslora"]) == (2, 6, True)
    assert adapter["target_modules"] == ["q_proj", "v_proj"]
    recipe = lock["recipe"]
    assert recipe["lora"]["targets"] == ["q_proj", "v_proj"]
    assert (recipe["lr_schedule"], recipe["weight_decay"]) == ("constant", 0.01)
    assert (recipe["max_grad_norm"], recipe["early_stopping_patience"]) == (0.5, 2)
