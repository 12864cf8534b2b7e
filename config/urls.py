"""Addresses: the desk at /admin/, the API below /api/, health beside them."""

from django.contrib import admin
from django.urls import include, path
from django.views.generic import RedirectView

from loans.admin.sessions import second_factor_view
from loans.api import health

urlpatterns = [
    path("", RedirectView.as_view(pattern_name="admin:index"), name="root"),
    path("admin/second-factor/", admin.site.admin_view(second_factor_view), name="second_factor"),
    path("admin/", admin.site.urls),
    path("api/", include("loans.api.urls")),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.MetricsView.as_view(), name="metrics"),
]
