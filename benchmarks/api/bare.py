"""As little as a FastAPI endpoint can do to answer with a job's row, by SQLAlchemy."""

import os
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from fastapi import FastAPI

from tunesmith.store.tables import jobs

app = FastAPI()
engine = sa.create_engine(os.environ["BARE_DATABASE"])


def _read(job_id: str) -> dict[str, Any]:
    with engine.connect() as connection:
        query = sa.select(jobs).where(jobs.c.id == UUID(job_id))
        return dict(connection.execute(query).mappings().one())


@app.get("/def/{job_id}")
def read_in_thread(job_id: str) -> dict[str, Any]:
    return _read(job_id)


@app.get("/async/{job_id}")
async def read_in_loop(job_id: str) -> dict[str, Any]:
    return _read(job_id)
