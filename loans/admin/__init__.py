"""The desk's pages: one module a noun, under the same name as its model."""

from loans.admin import (
    api_key,
    application,
    attribute,
    decision,
    forecast,
    fraud,
    import_batch,
    model_version,
    policy,
    product,
    schedule,
    training_run,
    user,
)

__all__ = [
    "api_key",
    "application",
    "attribute",
    "decision",
    "forecast",
    "fraud",
    "import_batch",
    "model_version",
    "policy",
    "product",
    "schedule",
    "training_run",
    "user",
]
