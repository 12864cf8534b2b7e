"""Every setting, read from the environment (twelve-factor). What must be set and is not stops the start with its name.

`config.embedded.ensure_environment()` provides development values for all of it before this module is read; production
has no such module's wheels installed, so there each variable is the operator's to set. README lists them.
"""

from __future__ import annotations

import base64
from datetime import timedelta
from decimal import Decimal
from importlib.util import find_spec
from pathlib import Path

import environ
from celery.schedules import crontab
from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.core.exceptions import ImproperlyConfigured

from config.sidebar import UNFOLD  # noqa: F401 - a setting

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.Env()

DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY")
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])
HTTPS = env.bool("HTTPS", default=not DEBUG)


def _keys(name: str) -> list[bytes]:
    """Base64 keys of 32 bytes, comma separated; the first encrypts, the others still decrypt."""
    keys = []
    for number, text in enumerate(env.list(name), start=1):
        try:
            key = base64.b64decode(text, validate=True)
        except ValueError as error:
            raise ImproperlyConfigured(f"{name}: key {number} is not base64.") from error
        if len(key) != 32:
            raise ImproperlyConfigured(f"{name}: key {number} has {len(key)} bytes; it must have 32 (openssl rand -base64 32).")
        keys.append(key)
    if not keys:
        raise ImproperlyConfigured(f"{name} is empty; give at least one key (openssl rand -base64 32).")
    return keys


PII_KEYS = _keys("PII_KEYS")
# The first writes and signs; older ones behind it are accepted until `rotate_keys` has done its work
BLIND_INDEX_KEY, *OLD_BLIND_INDEX_KEYS = _keys("BLIND_INDEX_KEY")
ARTIFACT_KEY, *OLD_ARTIFACT_KEYS = _keys("ARTIFACT_KEY")
ARTIFACTS_DIR = Path(env.str("ARTIFACTS_DIR", default=str(BASE_DIR / ".loandesk" / "artifacts")))
UPLOADS_DIR = Path(env.str("UPLOADS_DIR", default=str(BASE_DIR / ".loandesk" / "uploads")))
ARCHIVE_DIR = Path(env.str("ARCHIVE_DIR", default=str(BASE_DIR / ".loandesk" / "archive")))

INSTALLED_APPS = [
    "unfold",
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "csp",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "axes",
    "loans",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "loans.api.middleware.PolicyMiddleware",
    "loans.api.middleware.RequestIdMiddleware",
    "loans.api.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "loans.api.middleware.AuthenticationMiddleware",
    "loans.api.middleware.MessageMiddleware",
    "loans.admin.sessions.RolesMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

DATABASES = {"default": env.db_url("DATABASE_URL")}
if DATABASES["default"]["ENGINE"] != "django.db.backends.postgresql":
    raise ImproperlyConfigured("DATABASE_URL must name a PostgreSQL database (postgresql://user:password@host:5432/name).")
DATABASES["default"].update(CONN_MAX_AGE=env.int("DATABASE_CONN_MAX_AGE", default=60), CONN_HEALTH_CHECKS=True)
# A database that hangs must not hang every worker with it.
DATABASES["default"].setdefault("OPTIONS", {}).setdefault("connect_timeout", 5)
# What every submission sends stays prepared on its connection (loans/models/statements.py); not behind a pooler that shares connections
# by transaction and does not know of it.
DATABASES["default"]["OPTIONS"].setdefault("prepare_threshold", 0 if env.bool("DATABASE_PREPARED", default=True) else None)
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = env.str("REDIS_URL")
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "loandesk",
        "OPTIONS": {"socket_timeout": 1, "socket_connect_timeout": 1},
    }
}

# --- Celery -------------------------------------------------------------------------------------------------------------
CELERY_BROKER_URL = REDIS_URL
# Tests run several desks beside each other on one server; each has queues of its own.
QUEUE_PREFIX = env.str("QUEUE_PREFIX", default="")
SCORING_QUEUE = f"{QUEUE_PREFIX}scoring"
TRAINING_QUEUE = f"{QUEUE_PREFIX}training"
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_TRANSPORT_OPTIONS = {
    # Longer than any scoring task; recovery does not rest on it (the job rows do), so a repeat is only a wasted look.
    "visibility_timeout": 900,
    "unacked_restore_interval": 10,
    "unacked_restore_throttle": 5,
    "socket_timeout": 5,
    "socket_connect_timeout": 2,
    "retry_on_timeout": False,
    "global_keyprefix": QUEUE_PREFIX,
}
CELERY_TASK_PUBLISH_RETRY = False
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_DEFAULT_QUEUE = SCORING_QUEUE
_LONG = (
    "loans.import_file",
    "loans.undo_import",
    "loans.train",
    "loans.train_fraud",
    "loans.forecast",
    "loans.follow_segments",
    "loans.monitor",
    "loans.check_promotions",
    "loans.keep_partitions",
)
CELERY_TASK_ROUTES = {name: {"queue": TRAINING_QUEUE} for name in _LONG}
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CONCURRENCY = env.int("WORKER_CONCURRENCY", default=1)
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 20
CELERY_WORKER_ENABLE_SOFT_SHUTDOWN_ON_IDLE = False
CELERY_WORKER_SEND_TASK_EVENTS = False
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_TASK_SERIALIZER = "json"
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULER = "django_celery_beat.schedulers:DatabaseScheduler"
CELERY_BEAT_SCHEDULE = {
    # `expires` keeps a backlog of identical wake-ups from building while no worker runs.
    "score-pending": {"task": "loans.score_pending", "schedule": timedelta(seconds=60), "options": {"expires": 55}},
    # A version that has been in shadow for the set time is checked, and serves by rule where the promotion policy says so.
    "check-promotions": {"task": "loans.check_promotions", "schedule": crontab(hour=5, minute=20), "options": {"expires": 43_200}},
    # What is usual changes slowly, and findings become labels after weeks.
    "forecast-demand": {"task": "loans.forecast", "schedule": crontab(hour=4, minute=10), "options": {"expires": 43_200}},
    "follow-segments": {"task": "loans.follow_segments", "schedule": crontab(hour=4, minute=40), "options": {"expires": 43_200}},
    # After the night's forecast; at this hour the windows of the day before are whole.
    "monitor-models": {"task": "loans.monitor", "schedule": crontab(hour=5, minute=10), "options": {"expires": 43_200}},
    # Every day, though a month's partition is made months ahead: a day on which no worker ran must not matter.
    "keep-partitions": {"task": "loans.keep_partitions", "schedule": crontab(hour=3, minute=40), "options": {"expires": 43_200}},
    "watch-queue": {"task": "loans.watch_queue", "schedule": timedelta(minutes=5), "options": {"expires": 240}},
    "train-fraud": {"task": "loans.train_fraud", "schedule": timedelta(days=7), "options": {"expires": 86_400}},
}

# --- The desk -----------------------------------------------------------------------------------------------------------
SCORING_BATCH_SIZE = env.int("SCORING_BATCH_SIZE", default=1000)
# What a killed worker held waits so long. A batch of 1,000 takes about a second; a result that comes later than the lease is dropped.
SCORING_LEASE_SECONDS = env.int("SCORING_LEASE_SECONDS", default=10)
SCORING_MAX_ATTEMPTS = 5
SWEEP_INTERVAL_SECONDS = env.float("SWEEP_INTERVAL_SECONDS", default=2.0)
SWEEP_LONG_QUEUE = env.int("SWEEP_LONG_QUEUE", default=200)
BROKER_AWAY_SECONDS = env.float("BROKER_AWAY_SECONDS", default=15.0)
HEARTBEAT_SECONDS = env.float("HEARTBEAT_SECONDS", default=5.0)
TRAINING_LEASE_SECONDS = env.int("TRAINING_LEASE_SECONDS", default=120)
# Applications that a bulk job takes at a time (some 60 MB), for how long a worker holds them, and how many workers a job asks for
BULK_CHUNK_ROWS = env.int("BULK_CHUNK_ROWS", default=4000)
BULK_LEASE_SECONDS = env.int("BULK_LEASE_SECONDS", default=60)
BULK_WORKERS = env.int("BULK_WORKERS", default=4)
# More loans with an outcome than this are sampled, each with its weight; 0 learns from all of them, however many.
TRAINING_MOST_ROWS = env.int("TRAINING_MOST_ROWS", default=300_000)
# Whether made-up defaults are tried in the training part; they are used only where they help on later loans
TRAINING_AUGMENT = env.bool("TRAINING_AUGMENT", default=False)
TRAINING_SCHEDULER = env.str("TRAINING_SCHEDULER", default="")
OUTCOME_WINDOW_MONTHS = env.int("OUTCOME_WINDOW_MONTHS", default=0)
# Whom reasons are measured against: all applicants, or those who would only just be approved. Regulation B's commentary names both.
REASON_BASELINE = env.str("REASON_BASELINE", default="all")
if REASON_BASELINE not in ("all", "at_cutoff"):
    raise ImproperlyConfigured(f"REASON_BASELINE is {REASON_BASELINE!r}; it is “all” or “at_cutoff”.")
# Fields of the application that no model may learn from, e.g. region,channel: what they say may stand in for a protected characteristic.
FIELDS_LEFT_OUT = tuple(env.list("FIELDS_LEFT_OUT", default=[]))
# Share of unflagged applications that are reviewed all the same, and days until a finding becomes a label
FRAUD_SAMPLE_SHARE = env.float("FRAUD_SAMPLE_SHARE", default=0.015)
FRAUD_LABEL_DELAY_DAYS = env.int("FRAUD_LABEL_DELAY_DAYS", default=30)
FRAUD_FLAG_PROBABILITY = env.float("FRAUD_FLAG_PROBABILITY", default=0.2)
# Flags that the investigators get through in a day, all together
FRAUD_DAILY_CAPACITY = env.int("FRAUD_DAILY_CAPACITY", default=20)
# Share of that which goes to random reviews, whatever the queue holds
FRAUD_SAMPLE_CAPACITY = env.float("FRAUD_SAMPLE_CAPACITY", default=0.1)
# Up to this amount an officer without a limit of his own approves alone; unset: any amount
APPROVAL_LIMIT = env("APPROVAL_LIMIT", cast=Decimal, default=None)
# Webhooks go to public addresses over https; networks of your own (10.1.0.0/16) that they may reach too, over http as well
WEBHOOK_ALLOWED_NETWORKS = env.list("WEBHOOK_ALLOWED_NETWORKS", default=[])
WEBHOOK_MAX_ATTEMPTS = 10
# Windows by week, month or quarter. Alerts are mailed to these addresses; SITE_ADDRESS is the link's beginning
MONITORING_PERIOD = env.str("MONITORING_PERIOD", default="month")
ALERT_EMAILS = env.list("ALERT_EMAILS", default=[])
SITE_ADDRESS = env.str("SITE_ADDRESS", default="").rstrip("/")
# Folder of pg_dump and pg_restore for `manage.py backup` and `restore`; empty: those on the PATH
PG_BIN = env.str("PG_BIN", default="")
# For how long after its decision an application's person may not be erased: what your law and contracts ask for
RETENTION_DAYS = env.int("RETENTION_DAYS", default=0)
# How many months ahead the growing tables have their partitions, and after how many whole months what is left in them goes to ARCHIVE_DIR:
# predictions=36,snapshots=36,jobs=36,events=84. What is not named, or 0, stays in the database for good.
PARTITIONS_AHEAD = env.int("PARTITIONS_AHEAD", default=3)
ARCHIVE_AFTER_MONTHS = env.dict("ARCHIVE_AFTER_MONTHS", cast={"value": int}, default={})
_ARCHIVABLE = ("predictions", "snapshots", "jobs", "events")
if not set(ARCHIVE_AFTER_MONTHS) <= set(_ARCHIVABLE) or any(months < 0 for months in ARCHIVE_AFTER_MONTHS.values()):
    raise ImproperlyConfigured(f"ARCHIVE_AFTER_MONTHS takes months for {', '.join(_ARCHIVABLE)}; it is {ARCHIVE_AFTER_MONTHS!r}.")
if PARTITIONS_AHEAD < 1:
    raise ImproperlyConfigured(f"PARTITIONS_AHEAD is {PARTITIONS_AHEAD}; at least 1.")
CURRENCY = env.str("CURRENCY", default="USD")
# How this place writes money, numbers and days. Unset: by the currency; its sign before the amount, its code behind
CURRENCY_SYMBOL = env.str("CURRENCY_SYMBOL", default="")
CURRENCY_AFTER = env("CURRENCY_AFTER", cast=bool, default=None)
CURRENCY_DECIMALS = env("CURRENCY_DECIMALS", cast=int, default=None)
# Of a language that Django knows: de writes 1.234,56
NUMBER_FORMATS = env.str("NUMBER_FORMATS", default="en")
if find_spec(f"django.conf.locale.{NUMBER_FORMATS}") is None or find_spec(f"django.conf.locale.{NUMBER_FORMATS}.formats") is None:
    raise ImproperlyConfigured(f"NUMBER_FORMATS is {NUMBER_FORMATS!r}; it is a language that Django knows, such as en, de, fr or pt_BR.")
# In the letters of Django's date filter
DAY_FORMAT = env.str("DAY_FORMAT", default="Y-m-d")
MOMENT_FORMAT = env.str("MOMENT_FORMAT", default=f"{DAY_FORMAT} H:i")
FORMAT_MODULE_PATH = "config.formats"
COUNTRY = env.str("COUNTRY", default="US")
EXPORT_MAX_ROWS = env.int("EXPORT_MAX_ROWS", default=10_000)
RULE_PACK = env.str("RULE_PACK", default="us_regulation_b")
# What letters say of the lender; nothing of it is invented here, and a notice without it says that it is incomplete
NOTICE_CREDITOR = env.str("NOTICE_CREDITOR", default="", multiline=True)
NOTICE_AGENCY = env.str("NOTICE_AGENCY", default="", multiline=True)
NOTICE_RIGHTS = env.str("NOTICE_RIGHTS", default="", multiline=True)
NOTICE_SOURCES = env.str("NOTICE_SOURCES", default="", multiline=True)

# --- Mail ---------------------------------------------------------------------------------------------------------------
# smtp+tls://user:password@host:587; unset, letters are printed
vars().update(env.email_url("EMAIL_URL", default="consolemail://"))
EMAIL_TIMEOUT = 10
DEFAULT_FROM_EMAIL = env.str("EMAIL_FROM", default="loandesk@localhost")

# --- Who may do what ----------------------------------------------------------------------------------------------------
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher", "django.contrib.auth.hashers.PBKDF2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
# Five failures for a name from an address close that pair for a while; the name alone would let anybody lock anybody out
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_LOCKOUT_TEMPLATE = "admin/locked.html"
AXES_RESET_ON_SUCCESS = True
AXES_ENABLE_ADMIN = False
AXES_DISABLE_ACCESS_LOG = True
AXES_VERBOSE = False
AXES_CLIENT_IP_CALLABLE = "loans.services.logins.client_address"
BEHIND_PROXY = env.bool("BEHIND_PROXY", default=False)
# Everybody who works in the admin sets up a second factor at the first login
MFA_REQUIRED = env.bool("MFA_REQUIRED", default=not DEBUG)
LOGIN_URL = "admin:login"
LOGIN_REDIRECT_URL = "admin:index"

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["loans.api.authentication.ApiKeyAuthentication", "loans.api.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_PARSER_CLASSES": ["loans.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["loans.api.renderers.FiniteJSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_VERSIONING_CLASS": None,
    "EXCEPTION_HANDLER": "loans.api.problems.handle",
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "UNAUTHENTICATED_USER": "django.contrib.auth.models.AnonymousUser",
    "COERCE_DECIMAL_TO_STRING": True,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Loandesk API",
    "DESCRIPTION": "Submit loan applications, read their scores with reasons, and record decisions.",
    "VERSION": "1.0.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_NAME_OVERRIDES": {
        "ScoringStateEnum": "loans.models.job.ScoringState",
        "ModelStateEnum": "loans.models.model_version.ModelState",
        "StatusEnum": "loans.models.application.Status",
        "OutcomeEnum": "loans.models.decision.Outcome",
        "ModelKindEnum": "loans.models.model_version.ModelKind",
        "FlagKindEnum": "loans.models.fraud.FlagKind",
        "FlagStateEnum": "loans.models.fraud.FlagState",
        "AlertStateEnum": "loans.models.alert.AlertState",
        "AssessmentStateEnum": "loans.models.fraud_link.AssessmentState",
    },
}
# Requests a minute of one API key (or login) by scope; empty or 0: no limit
THROTTLES = {
    "submit": env.int("THROTTLE_SUBMIT", default=6_000),
    "batch": env.int("THROTTLE_BATCH", default=300),
    "read": env.int("THROTTLE_READ", default=6_000),
    "decide": env.int("THROTTLE_DECIDE", default=600),
}
DATA_UPLOAD_MAX_MEMORY_SIZE = env.int("REQUEST_MAX_BYTES", default=2_500_000)
BATCH_MAX_BYTES = env.int("BATCH_MAX_BYTES", default=10_000_000)
FILE_UPLOAD_MAX_MEMORY_SIZE = 2_500_000
# The import wizard sends some nine for each of a file's columns; REQUEST_MAX_BYTES bounds them all the same.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 20_000
# A loan file in the import wizard; what is larger is not even stored while it comes in.
IMPORT_MAX_BYTES = env.int("IMPORT_MAX_BYTES", default=500_000_000)
FILE_UPLOAD_HANDLERS = [
    "loans.admin.upload_limit.DocumentUpload",
    "loans.admin.upload_limit.UploadLimit",
    "django.core.files.uploadhandler.MemoryFileUploadHandler",
    "django.core.files.uploadhandler.TemporaryFileUploadHandler",
]
# Papers of an application: how large, how many, and of which types (told by their content)
DOCUMENT_MAX_BYTES = env.int("DOCUMENT_MAX_BYTES", default=10_000_000)
DOCUMENTS_AN_APPLICATION = env.int("DOCUMENTS_AN_APPLICATION", default=30)
DOCUMENT_TYPES = tuple(env.list("DOCUMENT_TYPES", default=["pdf", "jpeg", "png", "tiff", "heic"]))
if not DOCUMENT_TYPES or set(DOCUMENT_TYPES) - {"pdf", "jpeg", "png", "tiff", "heic", "webp"}:
    raise ImproperlyConfigured("DOCUMENT_TYPES lists some of pdf, jpeg, png, tiff, heic and webp, at least one.")
# What reading a loan file may take beyond what the process has, in a child of its own
READ_MEMORY_MB = env.int("READ_MEMORY_MB", default=1_500)
# So long an uploaded file waits to be imported, or to be tried again
IMPORT_KEEP_HOURS = env.int("IMPORT_KEEP_HOURS", default=24)

# --- Safe by default ----------------------------------------------------------------------------------------------------
SECURE_SSL_REDIRECT = HTTPS and env.bool("SSL_REDIRECT", default=True)
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = HTTPS
SECURE_HSTS_PRELOAD = HTTPS
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_AGE = 12 * 3600
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
# unfold's Alpine evaluates expressions, and its templates carry style attributes: both are needed, nothing more is.
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [NONE],
        "script-src": [SELF, UNSAFE_EVAL],
        "style-src": [SELF, UNSAFE_INLINE],
        "img-src": [SELF, "data:"],
        "font-src": [SELF],
        "connect-src": [SELF],
        "form-action": [SELF],
        "frame-ancestors": [NONE],
        "base-uri": [NONE],
    }
}

# The desk's own words are English so far; another language brings its own numbers and days
LANGUAGE_CODE = env.str("LANGUAGE_CODE", default="en")
TIME_ZONE = "UTC"
USE_I18N = USE_TZ = True
STATIC_URL = "static/"
STATIC_ROOT = Path(env.str("STATIC_ROOT", default=str(BASE_DIR / "build" / "static")))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage", "OPTIONS": {"location": str(UPLOADS_DIR)}},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}
WHITENOISE_USE_FINDERS = DEBUG

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "loans.services.request_id.RequestIdFilter"}},
    "formatters": {
        "line": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s]: %(message)s"},
        "json": {"()": "loans.services.json_log.JsonFormatter"},
    },
    "handlers": {
        "console": {
            "class": "logging.StreamHandler",
            "formatter": env.str("LOG_FORMAT", default="line" if DEBUG else "json"),
            "filters": ["request_id"],
        }
    },
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        # Without Django's own handler, which would say each line a second time.
        "django": {"handlers": []},
        # Request bodies carry people's data; Django logs paths only, and SQL logging would undo that.
        "django.db.backends": {"level": "WARNING"},
        # It names what was typed as a user name; the audit trail has the event.
        "axes": {"level": "CRITICAL"},
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
    },
}

if not DEBUG and SECRET_KEY.startswith("dev-"):
    raise ImproperlyConfigured("SECRET_KEY is a development key; set one of your own (openssl rand -base64 48).")
