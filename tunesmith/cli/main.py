"""The command tree."""

import typer

from tunesmith.cli import (
    accounts,
    admin,
    audit,
    backups,
    catalogue,
    chat,
    data,
    evaluate,
    files,
    jobs,
    machine,
    queue,
    quotas,
    retention,
    serve,
    tune,
    webhooks,
    worker,
)

app = typer.Typer(
    help="Tunesmith: the fine-tuning service that you run yourself.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
_WORK, _SERVE, _OPERATE = "Train and ask", "Run it", "Look after it, where its data folder is"

app.command("tune", rich_help_panel=_WORK)(tune.tune)
app.add_typer(jobs.app, name="jobs", rich_help_panel=_WORK)
app.command("chat", rich_help_panel=_WORK)(chat.chat)
app.command("eval", rich_help_panel=_WORK)(evaluate.evaluate)
app.command("deploy", rich_help_panel=_WORK)(jobs.deploy_job)
app.add_typer(data.app, name="data", rich_help_panel=_WORK)
app.add_typer(files.app, name="files", rich_help_panel=_WORK)

app.command("up", rich_help_panel=_SERVE)(serve.up)
app.command("serve", rich_help_panel=_SERVE)(serve.serve)
app.command("server", rich_help_panel=_SERVE)(serve.server)
app.command("worker", rich_help_panel=_SERVE)(worker.worker)
app.command("doctor", rich_help_panel=_SERVE)(machine.doctor)
app.command("settings", rich_help_panel=_SERVE)(admin.show_settings)

app.add_typer(catalogue.models, name="models", rich_help_panel=_OPERATE)
app.command("hardware", rich_help_panel=_OPERATE)(catalogue.list_hardware)
app.command("estimate", rich_help_panel=_OPERATE)(catalogue.estimate)
app.command("queue", rich_help_panel=_OPERATE)(queue.list_queue)
app.command("prioritize", rich_help_panel=_OPERATE)(queue.prioritize)
app.add_typer(accounts.orgs, name="orgs", rich_help_panel=_OPERATE)
accounts.orgs.command("quota")(quotas.quota)
app.add_typer(accounts.users, name="users", rich_help_panel=_OPERATE)
app.add_typer(accounts.keys, name="keys", rich_help_panel=_OPERATE)
app.add_typer(audit.app, name="audit", rich_help_panel=_OPERATE)
app.add_typer(webhooks.app, name="webhooks", rich_help_panel=_OPERATE)
app.command("backup", rich_help_panel=_OPERATE)(backups.backup)
app.command("restore", rich_help_panel=_OPERATE)(backups.restore)
app.command("retention", rich_help_panel=_OPERATE)(retention.show)
