"""`python -m tunesmith`."""

from tunesmith.cli.main import app

app()
