"""The settings of the shop. What concerns its databases is `UNDAUNTED`; all else is Django's own."""

import os
import secrets


def listed(variable: str) -> list[str]:
    """What stands in a variable of the environment, separated by commas."""
    return [part for part in os.environ.get(variable, "").split(",") if part]


CLUSTERS = {
    "catalogue": {"backend": "cassandra", "nodes": listed("CATALOGUE_NODES"), "keyspace": "shop"},
    "orders": {"backend": "mongodb", "nodes": listed("ORDERS_NODES"), "database": "shop"},
    "ledger": {"backend": "sqlalchemy", "nodes": listed("LEDGER_NODES"), "url": {"env": "LEDGER_URL"}},
}

UNDAUNTED = {
    "clusters": {name: cluster for name, cluster in CLUSTERS.items() if cluster["nodes"]},
    # A frozen MongoDB primary costs its detection, 3 s, and an election, 2 s here; a busy machine takes longer.
    "profiles": {"web": {"retry.deadline": "12s"}},
}

# Which modules keep the parts of the shop; where one's cluster is missing, another cluster keeps that part too.
SHOP = {"catalogue": "cassandra", "orders": "mongodb", "ledger": "postgresql"}

INSTALLED_APPS = [
    "shop",
    "undaunted.django",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]

MIDDLEWARE = [
    "undaunted.django.middleware.UndauntedMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

# Only who may see the office is kept by Django's own ORM, which `undaunted` does not cover: nothing to buy needs it.
DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": os.environ.get("SHOP_STAFF", "staff.sqlite3")}}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "office"
LOGOUT_REDIRECT_URL = "home"

SECRET_KEY = os.environ.get("SHOP_SECRET") or secrets.token_urlsafe(50)
DEBUG = os.environ.get("SHOP_DEBUG") == "1"
ALLOWED_HOSTS = ["127.0.0.1", "localhost", "testserver"]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
MESSAGE_STORAGE = "django.contrib.messages.storage.cookie.CookieStorage"
ROOT_URLCONF = "config.urls"
WSGI_APPLICATION = "config.wsgi.application"
STATIC_URL = "static/"
USE_TZ = True
TIME_ZONE = "UTC"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "shop.context.everywhere",
            ],
        },
    },
]
