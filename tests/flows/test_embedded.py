"""The servers that a machine with Python alone gets: shared by processes, stopped by the last, there again after kill -9."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from config import embedded, servers
from config.embedded import KEYS, PROJECT, Desk
from config.servers import Postgres, ServerError, Valkey, sysuser
from tests.services import start_postgres, start_valkey, wait_until

# What a person types into `python -c`: a process of its own that has none of our variables
BARE = {name: value for name, value in os.environ.items() if name not in (*embedded.REQUIRED, "DEBUG", "ARTIFACTS_DIR", "UPLOADS_DIR")}


@pytest.fixture
def home():
    folder = Path(tempfile.mkdtemp(prefix="loandesk-home-"))
    folder.chmod(0o711)
    yield folder
    Desk(folder).stop()
    shutil.rmtree(folder)


def python(home: Path, code: str, **variables: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], env={**BARE, "LOANDESK_HOME": str(home), **variables}, cwd=PROJECT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


USE = """
    import os, sys
    from config.embedded import ensure_environment
    ensure_environment()
    print(os.environ["DATABASE_URL"], os.environ["REDIS_URL"], os.environ["PII_KEYS"], flush=True)
    sys.stdin.readline()
"""


def finish(process: subprocess.Popen) -> tuple[str, str]:
    out, err = process.communicate("\n", timeout=60)
    assert process.returncode == 0, err
    return out, err


@pytest.mark.slow
def test_processes_share_the_servers_and_the_last_one_stops_them(home):
    first = python(home, USE)
    urls = first.stdout.readline()
    second = python(home, USE)
    assert second.stdout.readline() == urls, "the second process attaches to what the first started, with the same secrets"
    finish(first)
    desk = Desk(home)
    assert desk.postgres.running and desk.valkey.running, "the first leaves, the second still works"
    finish(second)
    assert not desk.postgres.running and not desk.valkey.running


@pytest.mark.slow
def test_many_processes_at_once_start_one_pair(home):
    with ThreadPoolExecutor() as pool:
        lines = {out for out, _ in pool.map(lambda _: finish(python(home, USE)), range(4))}
    assert len(lines) == 1
    assert Desk(home).postgres.pid is None


@pytest.mark.slow
def test_data_survives_kill_9_of_everything(home):
    process = python(home, USE)
    database, broker = process.stdout.readline().split()[:2]
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 41 + 1 AS answer")
    redis.Redis.from_url(broker).set("kept", "yes")
    time.sleep(1.1)  # Valkey flushes once a second
    desk = Desk(home)
    before = desk.postgres.pid
    process.kill()
    process.wait()
    assert desk.postgres.running, "kill -9 of the owner leaves them up: the next process attaches"
    attached = python(home, USE)
    assert attached.stdout.readline().split()[0] == database
    assert desk.postgres.pid == before
    finish(attached)
    assert desk.postgres.pid is None, "and stops them, since nobody else holds them"
    desk.acquire([desk.postgres, desk.valkey])
    desk.postgres.kill()
    desk.valkey.kill()
    assert (home / "postgres" / "postmaster.pid").exists(), "a stale file, as after a power cut"
    again = python(home, USE)
    database, broker = again.stdout.readline().split()[:2]
    with psycopg.connect(database) as connection:
        assert connection.execute("SELECT answer FROM kept").fetchone() == (42,)
    assert redis.Redis.from_url(broker).get("kept") == b"yes"
    finish(again)
    desk.release()


@pytest.mark.slow
def test_a_recycled_process_id_does_not_look_like_the_server(home):
    """After a reboot the id in postmaster.pid may be anybody's: here it is this test's."""
    desk = Desk(home)
    desk.acquire([desk.postgres])
    desk.postgres.kill()
    stale = home / "postgres" / "postmaster.pid"
    stale.write_text(stale.read_text().replace(stale.read_text().splitlines()[0], str(os.getpid()), 1))
    assert desk.postgres.pid is None
    desk.postgres.start()
    assert desk.postgres.running
    assert desk.release()


def test_sigterm_stops_what_a_command_started(home):
    process = python(home, USE)
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    wait_until(lambda: Desk(home).postgres.pid is None and Desk(home).valkey.pid is None, 10, "both servers to end")


@pytest.mark.slow
def test_ctrl_c_does_not_reach_the_servers(home):
    desk = Desk(home)
    desk.acquire([desk.postgres, desk.valkey])
    for server in (desk.postgres, desk.valkey):
        assert os.getpgid(server.pid) != os.getpgid(0)
    desk.release()


def test_secrets_are_made_once_and_for_the_owner_only(home):
    made = Desk(home).secrets()
    assert Desk(home).secrets() == made
    assert stat.S_IMODE((home / "secrets.env").stat().st_mode) == 0o600
    assert set(made) == {"SECRET_KEY", *KEYS}
    assert made["SECRET_KEY"].startswith("dev-"), "settings refuse it without DEBUG"


@pytest.mark.slow
def test_servers_are_closed_to_other_users(home):
    desk = Desk(home)
    desk.acquire([desk.postgres, desk.valkey])
    assert stat.S_IMODE(desk.postgres.socket_folder.stat().st_mode) == 0o700
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=desk.valkey.port, retry=Retry(NoBackoff(), 0)).ping()
    with psycopg.connect(desk.postgres.url) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    desk.release()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["deep" * 30, "with space, comma's"])
def test_a_path_that_no_socket_can_have(home, name):
    server = Postgres(home / name / "postgres")
    (home / name).mkdir(mode=0o711)
    with server:
        assert len(str(server.socket_folder)) < 80
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT current_database()").fetchone() == ("loandesk",)
    server.socket_folder.rmdir()


def test_somebody_elses_socket_folder_is_refused(home, monkeypatch):
    if os.geteuid() != 0:
        pytest.skip("needs root to make another user's folder")
    theirs = home / "theirs"
    theirs.mkdir()
    os.chown(theirs, 65534, 65534)
    monkeypatch.setattr(Postgres, "socket_folder", theirs)
    with pytest.raises(ServerError, match="belongs to user id 65534"):
        Postgres(home / "postgres").start()


def test_without_the_wheels_the_two_variables_are_named(home):
    code = """
        from config import embedded, servers
        servers.available = lambda: False
        embedded.ensure_environment()
    """
    process = python(home, code)
    _, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "DATABASE_URL and REDIS_URL are not set" in err and "requirements-dev.txt" in err
    assert not list(home.iterdir()), "nothing is made on a production machine"


def test_nothing_is_invented_beside_a_real_secret_key(home):
    code = """
        import os
        from config.embedded import ensure_environment
        print(ensure_environment(), os.environ.get("PII_KEYS"), os.environ.get("DEBUG"))
    """
    out, _ = finish(python(home, code, SECRET_KEY="real", DATABASE_URL="postgresql://db/loandesk", REDIS_URL="redis://broker/0"))
    assert out.split() == ["None", "None", "None"]


@pytest.mark.slow
def test_only_the_missing_server_is_started(home):
    code = """
        import os
        from config.embedded import ensure_environment
        desk = ensure_environment()
        print(os.environ["DATABASE_URL"], desk.postgres.running, desk.valkey.running)
    """
    out, _ = finish(python(home, code, DATABASE_URL="postgresql://db/loandesk"))
    assert out.split() == ["postgresql://db/loandesk", "False", "True"]


@pytest.mark.slow
def test_an_unusable_data_folder_is_explained(home):
    (home / "postgres").mkdir()
    (home / "postgres" / "letter.txt").write_text("not a database")
    with pytest.raises(ServerError, match="holds files but no PostgreSQL database"):
        Postgres(home / "postgres").start()
    assert (home / "postgres" / "letter.txt").exists()


@pytest.mark.slow
def test_a_server_that_cannot_start_shows_its_log(home):
    with pytest.raises(ServerError, match="no_such_setting"):
        Postgres(home / "postgres", settings={"no_such_setting": "1"}).start()


def test_root_without_useradd_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(sysuser, "_find", lambda: None)
    monkeypatch.setattr(sysuser.shutil, "which", lambda *args, **kwargs: None)
    with pytest.raises(sysuser.SystemUserError, match="apt-get install passwd"):
        sysuser._create()


def test_root_opens_only_what_is_closed_and_says_so(tmp_path, monkeypatch, capsys):
    if os.geteuid() != 0:
        pytest.skip("runs as root only")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    sysuser.server_user(servers.Postgres(tmp_path).binaries / "postgres", closed / "data")
    assert stat.S_IMODE(closed.stat().st_mode) == 0o701, "others may pass, not list"
    assert str(closed) in capsys.readouterr().err


@pytest.mark.slow
def test_postgres_immediate_restart_and_kill_keep_what_was_committed():
    with start_postgres() as server:
        with psycopg.connect(server.url, autocommit=True) as connection:
            connection.execute("CREATE TABLE t (n int)")
            connection.execute("INSERT INTO t VALUES (1)")
            server.restart_immediately()
            with pytest.raises(psycopg.OperationalError):
                connection.execute("SELECT 1")
        server.kill()
        assert not server.running
        server.start()
        with psycopg.connect(server.url) as connection:
            assert connection.execute("SELECT n FROM t").fetchall() == [(1,)]
    assert not server.directory.exists()


def test_valkey_wipe_comes_back_empty_on_the_same_port_and_a_pause_hangs():
    with start_valkey() as server:
        client = redis.Redis.from_url(server.url, socket_timeout=0.3)
        client.set("a", 1)
        port, pid = server.port, server.pid
        server.wipe()
        assert (server.port, client.get("a")) == (port, None)
        assert server.pid != pid
        server.pause()
        with pytest.raises(redis.TimeoutError):
            client.get("a")
        server.resume()
        client.set("a", 2)
        server.stop()
        server.start()
        assert client.get("a") == b"2"


def test_a_taken_port_is_left_to_its_owner(tmp_path):
    server = Valkey(tmp_path / "valkey")
    server.start()
    port = server.port
    server.stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        with server:
            assert server.port != port and server.running


@pytest.mark.slow
def test_status_stop_and_clear(home):
    def embedded_command(*arguments: str) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, "-m", "config.embedded", *arguments],
            env={**BARE, "LOANDESK_HOME": str(home)}, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    user = python(home, USE)
    user.stdout.readline()
    assert embedded_command("status").stdout.count("running as process") == 2
    refused = embedded_command("clear")
    assert refused.returncode == 1 and "in use" in refused.stderr
    finish(user)
    kept = (home / "secrets.env").read_text()
    assert embedded_command("clear").returncode == 0
    assert not (home / "postgres").exists() and (home / "secrets.env").read_text() == kept
    assert embedded_command("nonsense").returncode == 2
