# syntax=docker/dockerfile:1
# One image for every process of the desk; compose.yaml gives each its command.

FROM python:3.12-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /venv
COPY requirements.txt /tmp/requirements.txt
# Every package is a wheel with a recorded hash: no compiler is needed, and nothing else gets in.
RUN /venv/bin/python -m pip install --require-hashes --only-binary :all: -r /tmp/requirements.txt

FROM python:3.12-slim-bookworm
ENV PATH=/venv/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    DJANGO_SETTINGS_MODULE=config.settings \
    STATIC_ROOT=/app/build/static \
    ARTIFACTS_DIR=/var/lib/loandesk/artifacts \
    UPLOADS_DIR=/var/lib/loandesk/uploads \
    ARCHIVE_DIR=/var/lib/loandesk/archive
RUN groupadd --system --gid 10001 loandesk \
    && useradd --system --uid 10001 --gid loandesk --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin loandesk \
    && install -d -o loandesk -g loandesk -m 0700 /var/lib/loandesk /var/lib/loandesk/artifacts /var/lib/loandesk/uploads /var/lib/loandesk/archive
COPY --from=build /venv /venv
WORKDIR /app
COPY manage.py ./
COPY config ./config
COPY mlcore ./mlcore
COPY loans ./loans
COPY templates ./templates
# Settings demand every variable; these values serve this one command and are not kept in the image.
RUN KEY=$(python -c "import base64; print(base64.b64encode(bytes(32)).decode())") \
    && SECRET_KEY=collectstatic PII_KEYS=$KEY BLIND_INDEX_KEY=$KEY ARTIFACT_KEY=$KEY \
       DATABASE_URL=postgresql://build@localhost/build REDIS_URL=redis://localhost:6379/0 \
       python manage.py collectstatic --noinput --verbosity 0 \
    && python -m compileall -q config loans mlcore
USER loandesk
EXPOSE 8000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s --retries=3 CMD ["python", "-m", "config.health", "web"]
CMD ["gunicorn", "--config", "config/gunicorn.py", "--bind", "0.0.0.0:8000", "config.wsgi:application"]
