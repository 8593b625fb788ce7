from pathlib import Path

import sqlalchemy as sa
from alembic import command
from alembic.config import Config


def migrated(engine: sa.Engine, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", "tunesmith:store/migrations")
    config.set_main_option("path_separator", "os")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)


def test_jobs_from_before_they_had_names_and_logs_get_them(tmp_path: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{tmp_path / 'old.db'}")
    sa.event.listen(engine, "connect", lambda c, _: c.execute("PRAGMA foreign_keys=ON"))
    migrated(engine, "0007")
    at = 1_767_268_800_000_000
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "INSERT INTO organizations (id, name, slug, created_at) VALUES ('o', 'O', 'o', 1)"
        )
        for job, suffix, tokens in (("a", "'Mine'", 7), ("b", "NULL", "NULL")):
            connection.exec_driver_sql(
                "INSERT INTO jobs (id, organization_id, base_model, training_file_id, "
                "training_sha256, training_bytes, hyperparameters, seed, suffix, status, attempt, "
                "created_at, trained_tokens) VALUES "
                f"('{job}', 'o', 'base', 'f', 'x', 1, '{{}}', 1, {suffix}, 'stopped', 0, {at}, "
                f"{tokens})"
            )
        for number, (job, when) in enumerate((("a", at), ("b", at), ("a", at), ("a", at - 5000))):
            connection.exec_driver_sql(
                "INSERT INTO events (id, job_id, created_at, kind, level, data) VALUES "
                f"('e{number}', '{job}', {when}, 'note', 'info', '{{}}')"
            )
    migrated(engine, "head")
    with engine.connect() as connection:
        jobs = connection.exec_driver_sql(
            "SELECT name, search_text, num_trained_tokens, updated_at, logged_ms FROM jobs"
        ).all()
        lines = connection.exec_driver_sql("SELECT logged_ms FROM events ORDER BY seq").all()
    engine.dispose()
    ms = at // 1000
    assert jobs == [("Mine", "mine\n", 7, at, ms + 2), ("base", "base\n", 0, at, ms)]
    assert [line[0] for line in lines] == [ms, ms, ms + 1, ms + 2]
