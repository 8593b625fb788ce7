"""The APIs that the house speaks, each mounted under its own prefix."""

from tunesmith.dialects import admin, openai, platform

DIALECTS = (openai, platform, admin)
