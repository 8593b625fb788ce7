"""The APIs that the house speaks, each mounted under its own prefix."""

from tunesmith.dialects import admin, cloudflare, openai, platform

DIALECTS = (openai, cloudflare, platform, admin)
