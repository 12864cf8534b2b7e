"""Loaded by pytest before anything else (`-p tests.environment`): gives the run its servers, before settings are read."""

from config.embedded import ensure_environment

ensure_environment(durable=False)
