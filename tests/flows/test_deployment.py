"""The deployment files, as far as they can be checked without a container engine: what they run exists, what they read is documented."""

from __future__ import annotations

import os
import re
import shlex
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from config.embedded import KEYS, PROJECT, REQUIRED
from config.services import services
from tests.services import isolated_environment, start_postgres, start_valkey

COMPOSE = yaml.safe_load((PROJECT / "compose.yaml").read_text())
SERVICES = COMPOSE["services"]
OURS = {name: service for name, service in SERVICES.items() if service["image"] == "loandesk"}
DOCKERFILE = (PROJECT / "Dockerfile").read_text()
# Variables with a default in settings that are for tests alone
INTERNAL = {"QUEUE_PREFIX"}


def settings_variables() -> set[str]:
    text = (PROJECT / "config" / "settings.py").read_text()
    return set(re.findall(r'(?:env\.\w+|_keys)\(\s*"([A-Z_]+)"', text)) | set(KEYS)


def test_every_process_of_make_run_is_in_compose_with_the_same_command():
    with socket.socket() as listener:
        local = {service.name: service.command for service in services(listener, Path("log"))}
    assert set(local) == set(OURS) - {"migrate"}
    for name in ("worker", "train-worker", "beat"):
        theirs, here = OURS[name]["command"], local[name]
        assert theirs[0] == "celery"
        assert [part for part in here[3:] if "%h" not in part and part != "--hostname"] == [str(part) for part in theirs[1:]]
    assert OURS["sweeper"]["command"][1:] == local["sweeper"][1:]


@pytest.mark.parametrize("name", [name for name, service in OURS.items() if service["command"][0] == "celery"])
def test_celery_takes_the_options(name):
    from celery.bin.celery import celery

    command = [str(part) for part in OURS[name]["command"]]
    position = next(i for i, part in enumerate(command) if part in ("worker", "beat"))
    known = {
        option
        for parameter in celery.get_command(None, command[position]).params
        for option in (*parameter.opts, *parameter.secondary_opts)
    }
    used = {part.partition("=")[0] for part in command[position:] if part.startswith("--")}
    assert used <= known


@pytest.mark.parametrize("name", [name for name, service in OURS.items() if service["command"][0] == "python"])
def test_management_commands_exist(name):
    from django.core.management import get_commands

    assert OURS[name]["command"][1] == "manage.py"
    assert OURS[name]["command"][2] in get_commands()


@pytest.mark.slow
def test_gunicorn_takes_the_configuration():
    done = subprocess.run(
        [sys.executable, "-m", *map(str, SERVICES["web"]["command"]), "--check-config"], cwd=PROJECT, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert '"gunicorn", "--config", "config/gunicorn.py", "--bind", "0.0.0.0:8000", "config.wsgi:application"' in DOCKERFILE


def test_no_secret_has_a_default():
    text = (PROJECT / "compose.yaml").read_text()
    for name in ("SECRET_KEY", *KEYS, "POSTGRES_PASSWORD", "VALKEY_PASSWORD", "ALLOWED_HOSTS"):
        uses = re.findall(rf"\$\{{{name}(.)", text)
        assert uses and uses[0] == ":", name
        assert f"${{{name}:?" in text, f"{name} must be required"
        assert not re.search(rf"\$\{{{name}:-", text)
    example = (PROJECT / ".env.example").read_text()
    assert all(re.search(rf"^{name}=$", example, re.MULTILINE) for name in ("SECRET_KEY", *KEYS, "POSTGRES_PASSWORD", "VALKEY_PASSWORD"))


def test_compose_gives_every_required_setting_and_names_none_that_is_unknown():
    given = set(COMPOSE["x-environment"])
    assert set(REQUIRED) <= given
    assert given <= settings_variables() | {"WEB_CONCURRENCY"}
    used = set(re.findall(r"\$\{([A-Z_]+)", (PROJECT / "compose.yaml").read_text()))
    documented = set(re.findall(r"^#?([A-Z_]+)=", (PROJECT / ".env.example").read_text(), re.MULTILINE))
    assert used == documented


def test_every_service_is_checked_restarted_and_confined():
    for name, service in SERVICES.items():
        assert service["healthcheck"], name
        assert service["restart"] in ("unless-stopped", "no"), name
    for name, service in OURS.items():
        assert service["read_only"] and service["cap_drop"] == ["ALL"], name
    for service in SERVICES.values():
        assert all(str(port).startswith("127.0.0.1:") for port in service.get("ports", [])), "only the proxy beside it reaches the site"
    volumes = {volume.split(":")[0] for service in SERVICES.values() for volume in service["volumes"]}
    assert volumes == set(COMPOSE["volumes"])


def test_the_image_runs_as_nobody_important_and_copies_what_there_is():
    stages = DOCKERFILE.split("FROM ")[1:]
    assert len(stages) == 2
    assert "USER loandesk" in stages[1] and stages[1].index("USER loandesk") > stages[1].index("RUN KEY=")
    assert "--require-hashes" in stages[0] and "HEALTHCHECK" in stages[1] and "requirements-dev" not in DOCKERFILE
    ignored = (PROJECT / ".dockerignore").read_text().splitlines()
    for source in re.findall(r"^COPY (?!--from)(\S+)", DOCKERFILE, re.MULTILINE):
        assert (PROJECT / source).exists(), source
        assert f"!{source}" in ignored, f"{source} is not sent to the builder"


@pytest.mark.slow
def test_static_files_are_collected_by_the_image_s_own_command(tmp_path):
    command = re.search(r"RUN (KEY=.*?collectstatic --noinput --verbosity 0)", DOCKERFILE, re.DOTALL)[1]
    done = subprocess.run(
        ["sh", "-c", command.replace("\\\n", " ").replace("python", shlex.quote(sys.executable))], cwd=PROJECT,
        env={"PATH": os.environ["PATH"], "STATIC_ROOT": str(tmp_path), "DJANGO_SETTINGS_MODULE": "config.settings"},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "staticfiles.json").exists()


@pytest.mark.slow
def test_the_health_check_tells_a_live_process_from_a_silent_one(tmp_path):
    def health(role: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "config.health", role],
            env=environment,
            cwd=PROJECT,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    import psycopg

    with start_postgres() as database, start_valkey() as broker:
        environment = isolated_environment(database, broker, tmp_path, PORT="1")
        assert health("sweeper").returncode == 1, "no table yet: not well"
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE loans_heartbeat (role text, process text UNIQUE, at timestamptz)")
            connection.execute("INSERT INTO loans_heartbeat VALUES ('sweeper', %s, now())", [f"{socket.gethostname()}:1"])
            connection.execute("INSERT INTO loans_heartbeat VALUES ('worker', 'another-host:1', now())")
            assert health("sweeper").returncode == 0
            assert "no worker on this host" in health("worker").stderr
            connection.execute("UPDATE loans_heartbeat SET at = now() - interval '10 minutes'")
            assert "the last heartbeat of sweeper is 6" in health("sweeper").stderr
        assert "ConnectionRefusedError" in health("web").stderr
        assert health("nonsense").returncode == 2


def test_the_roles_of_the_health_check_are_the_ones_that_write_heartbeats():
    from config.health import ROLES

    written = set()
    for path in ("loans/tasks/processes.py", "loans/services/sweeping.py"):
        written |= set(re.findall(r'"((?:training-)?worker|beat|sweeper)"', (PROJECT / path).read_text()))
    assert written == set(ROLES)
    checked = {service["healthcheck"]["test"][-1] for name, service in OURS.items() if name != "migrate"}
    assert checked == {"web", *ROLES}


def test_readme_documents_every_variable():
    readme = PROJECT / "README.md"
    if not readme.exists():
        pytest.skip("README.md is not written yet")
    text = readme.read_text()
    missing = sorted(name for name in settings_variables() | {"WEB_CONCURRENCY", "WEB_THREADS", "LOANDESK_HOME"} if f"`{name}`" not in text)
    assert not set(missing) - INTERNAL, f"not in README's configuration table: {missing}"
