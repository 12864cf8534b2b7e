"""Production's settings as Django's own deployment check sees them."""

from __future__ import annotations

import base64
import os
import secrets
import subprocess
import sys

from config.embedded import PROJECT


def test_check_deploy_is_clean():
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    environment = os.environ | {
        "DEBUG": "0", "HTTPS": "1", "SECRET_KEY": secrets.token_urlsafe(60), "ALLOWED_HOSTS": "desk.example.com",
        "PII_KEYS": key, "BLIND_INDEX_KEY": key, "ARTIFACT_KEY": key, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=PROJECT, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and "no issues" in done.stdout, done.stdout + done.stderr
