"""The command tree."""

import typer

from tunesmith.cli import (
    accounts,
    admin,
    audit,
    backups,
    catalogue,
    data,
    jobs,
    queue,
    quotas,
    retention,
    serve,
    webhooks,
    worker,
)

app = typer.Typer(
    help="Tunesmith: the fine-tuning service that you run yourself.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("serve")(serve.serve)
app.command("server")(serve.server)
app.command("worker")(worker.worker)
app.command("settings")(admin.show_settings)
app.command("backup")(backups.backup)
app.command("restore")(backups.restore)
app.command("retention")(retention.show)
app.command("hardware")(catalogue.list_hardware)
app.command("estimate")(catalogue.estimate)
app.command("queue")(queue.list_queue)
app.command("prioritize")(queue.prioritize)
accounts.orgs.command("quota")(quotas.quota)
app.add_typer(data.app, name="data")
app.add_typer(jobs.app, name="jobs")
app.add_typer(accounts.orgs, name="orgs")
app.add_typer(accounts.users, name="users")
app.add_typer(accounts.keys, name="keys")
app.add_typer(audit.app, name="audit")
app.add_typer(catalogue.models, name="models")
app.add_typer(webhooks.app, name="webhooks")
