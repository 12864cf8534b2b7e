"""The HTTP API: thin views over `loans.services`, errors as application/problem+json, limits from `loans.models.fields`."""
