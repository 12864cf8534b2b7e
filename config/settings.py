"""Every setting, read from the environment (twelve-factor). What must be set and is not stops the start with its name.

`config.embedded.ensure_environment()` provides development values for all of it before this module is read; production
has no such module's wheels installed, so there each variable is the operator's to set. README lists them.
"""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path

import environ
from celery.schedules import crontab
from csp.constants import NONE, SELF, UNSAFE_EVAL, UNSAFE_INLINE
from django.core.exceptions import ImproperlyConfigured
from django.urls import reverse_lazy

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
BLIND_INDEX_KEY = _keys("BLIND_INDEX_KEY")[0]
ARTIFACT_KEY = _keys("ARTIFACT_KEY")[0]
ARTIFACTS_DIR = Path(env.str("ARTIFACTS_DIR", default=str(BASE_DIR / ".loandesk" / "artifacts")))
UPLOADS_DIR = Path(env.str("UPLOADS_DIR", default=str(BASE_DIR / ".loandesk" / "uploads")))

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
    "csp",
    "rest_framework",
    "django_filters",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "django_celery_beat",
    "loans",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "loans.api.middleware.RequestIdMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
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
CELERY_TASK_ROUTES = {name: {"queue": TRAINING_QUEUE} for name in ("loans.train", "loans.train_fraud", "loans.forecast")}
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
    # What is usual changes slowly, and findings become labels after weeks.
    "forecast-demand": {"task": "loans.forecast", "schedule": crontab(hour=4, minute=10), "options": {"expires": 43_200}},
    "train-fraud": {"task": "loans.train_fraud", "schedule": timedelta(days=7), "options": {"expires": 86_400}},
}

# --- The desk -----------------------------------------------------------------------------------------------------------
SCORING_BATCH_SIZE = env.int("SCORING_BATCH_SIZE", default=500)
SCORING_LEASE_SECONDS = env.int("SCORING_LEASE_SECONDS", default=60)
SCORING_MAX_ATTEMPTS = 5
SWEEP_INTERVAL_SECONDS = env.float("SWEEP_INTERVAL_SECONDS", default=2.0)
SWEEP_LONG_QUEUE = env.int("SWEEP_LONG_QUEUE", default=200)
BROKER_AWAY_SECONDS = env.float("BROKER_AWAY_SECONDS", default=15.0)
HEARTBEAT_SECONDS = env.float("HEARTBEAT_SECONDS", default=5.0)
TRAINING_LEASE_SECONDS = env.int("TRAINING_LEASE_SECONDS", default=120)
TRAINING_SCHEDULER = env.str("TRAINING_SCHEDULER", default="")
OUTCOME_WINDOW_MONTHS = env.int("OUTCOME_WINDOW_MONTHS", default=0)
# Share of unflagged applications that are reviewed all the same, and days until a finding becomes a label
FRAUD_SAMPLE_SHARE = env.float("FRAUD_SAMPLE_SHARE", default=0.015)
FRAUD_LABEL_DELAY_DAYS = env.int("FRAUD_LABEL_DELAY_DAYS", default=30)
FRAUD_FLAG_PROBABILITY = env.float("FRAUD_FLAG_PROBABILITY", default=0.2)
CURRENCY = env.str("CURRENCY", default="USD")
COUNTRY = env.str("COUNTRY", default="US")
RULE_PACK = env.str("RULE_PACK", default="us_regulation_b")

# --- Who may do what ----------------------------------------------------------------------------------------------------
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher", "django.contrib.auth.hashers.PBKDF2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator", "NumericPasswordValidator")
]
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
    },
}
DATA_UPLOAD_MAX_MEMORY_SIZE = env.int("REQUEST_MAX_BYTES", default=2_500_000)
FILE_UPLOAD_MAX_MEMORY_SIZE = 2_500_000

# --- Safe by default ----------------------------------------------------------------------------------------------------
SECURE_SSL_REDIRECT = HTTPS and env.bool("SSL_REDIRECT", default=True)
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$", r"^metrics$"]
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if env.bool("BEHIND_PROXY", default=False) else None
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

LANGUAGE_CODE = "en"
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
    "filters": {"request_id": {"()": "loans.api.request_id.RequestIdFilter"}},
    "formatters": {"line": {"format": "%(asctime)s %(levelname)s %(name)s [%(request_id)s]: %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line", "filters": ["request_id"]}},
    "root": {"handlers": ["console"], "level": env.str("LOG_LEVEL", default="INFO")},
    "loggers": {
        # Without Django's own handler, which would say each line a second time.
        "django": {"handlers": []},
        # Request bodies carry people's data; Django logs paths only, and SQL logging would undo that.
        "django.db.backends": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
    },
}

UNFOLD = {
    "SITE_TITLE": "Loandesk",
    "SITE_HEADER": "Loandesk",
    "SITE_SUBHEADER": "Underwriting desk",
    "SITE_SYMBOL": "balance",
    "SITE_URL": None,
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "ENVIRONMENT": "loans.admin.site.environment",
    "DASHBOARD_CALLBACK": "loans.admin.home.dashboard",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "loans.admin.site.favicon"}],
    "STYLES": ["loans.admin.site.style"],
    "SCRIPTS": ["loans.admin.site.script"],
    "COLORS": {
        "primary": {
            "50": "oklch(97.0% .014 254.6)",
            "100": "oklch(93.2% .032 255.6)",
            "200": "oklch(88.2% .059 254.1)",
            "300": "oklch(80.9% .105 251.8)",
            "400": "oklch(70.7% .165 254.6)",
            "500": "oklch(62.3% .214 259.8)",
            "600": "oklch(54.6% .245 262.9)",
            "700": "oklch(48.8% .243 264.4)",
            "800": "oklch(42.4% .199 265.6)",
            "900": "oklch(37.9% .146 265.5)",
            "950": "oklch(28.2% .091 267.9)",
        }
    },
    "SIDEBAR": {
        "show_search": True,
        "show_all_applications": False,
        "navigation": [
            {
                "title": "Desk",
                "items": [
                    {"title": "Home", "icon": "dashboard", "link": reverse_lazy("admin:index")},
                    {
                        "title": "Inbox",
                        "icon": "inbox",
                        "link": reverse_lazy("admin:loans_loanapplication_changelist"),
                        "permission": "loans.admin.site.may_view_applications",
                    },
                    {
                        "title": "Decisions",
                        "icon": "gavel",
                        "link": reverse_lazy("admin:loans_decision_changelist"),
                        "permission": "loans.admin.site.may_view_decisions",
                    },
                    {
                        "title": "Fraud flags",
                        "icon": "flag",
                        "link": reverse_lazy("admin:loans_fraudflag_changelist"),
                        "permission": "loans.admin.site.may_view_fraud_flags",
                    },
                    {
                        "title": "Demand",
                        "icon": "trending_up",
                        "link": reverse_lazy("admin:loans_demandforecast_changelist"),
                        "permission": "loans.admin.site.may_view_forecasts",
                    },
                    {
                        "title": "Imports",
                        "icon": "upload_file",
                        "link": reverse_lazy("admin:loans_importbatch_changelist"),
                        "permission": "loans.admin.site.may_view_imports",
                    },
                ],
            },
            {
                "title": "Models",
                "items": [
                    {
                        "title": "Model versions",
                        "icon": "model_training",
                        "link": reverse_lazy("admin:loans_modelversion_changelist"),
                        "permission": "loans.admin.site.may_view_models",
                    },
                    {
                        "title": "Training runs",
                        "icon": "fitness_center",
                        "link": reverse_lazy("admin:loans_trainingrun_changelist"),
                        "permission": "loans.admin.site.may_view_trainings",
                    },
                    {
                        "title": "Attributes",
                        "icon": "category",
                        "link": reverse_lazy("admin:loans_attributedefinition_changelist"),
                        "permission": "loans.admin.site.may_view_attributes",
                    },
                ],
            },
            {
                "title": "Rules",
                "items": [
                    {
                        "title": "Policies",
                        "icon": "rule",
                        "link": reverse_lazy("admin:loans_policy_changelist"),
                        "permission": "loans.admin.site.may_view_policies",
                    },
                    {
                        "title": "Knock-out rules",
                        "icon": "block",
                        "link": reverse_lazy("admin:loans_knockoutrule_changelist"),
                        "permission": "loans.admin.site.may_view_policies",
                    },
                    {
                        "title": "Fraud rules",
                        "icon": "policy",
                        "link": reverse_lazy("admin:loans_fraudrule_changelist"),
                        "permission": "loans.admin.site.may_view_fraud_rules",
                    },
                ],
            },
            {
                "title": "Administration",
                "items": [
                    {
                        "title": "Products",
                        "icon": "sell",
                        "link": reverse_lazy("admin:loans_loanproduct_changelist"),
                        "permission": "loans.admin.site.may_change_products",
                    },
                    {
                        "title": "API keys",
                        "icon": "key",
                        "link": reverse_lazy("admin:loans_apikey_changelist"),
                        "permission": "loans.admin.site.may_view_keys",
                    },
                    {
                        "title": "Users",
                        "icon": "person",
                        "link": reverse_lazy("admin:auth_user_changelist"),
                        "permission": "loans.admin.site.may_view_users",
                    },
                    {
                        "title": "Groups",
                        "icon": "group",
                        "link": reverse_lazy("admin:auth_group_changelist"),
                        "permission": "loans.admin.site.may_view_groups",
                    },
                ],
            },
        ],
    },
}

if not DEBUG and SECRET_KEY.startswith("dev-"):
    raise ImproperlyConfigured("SECRET_KEY is a development key; set one of your own (openssl rand -base64 48).")
