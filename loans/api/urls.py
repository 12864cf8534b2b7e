"""Addresses under /api/. What is not among them is a problem document too."""

from __future__ import annotations

from django.urls import path, re_path

from loans.api.applications import ApplicationDetail, ApplicationList
from loans.api.batch import ApplicationBatch
from loans.api.decisions import ApplicationDecision, DecisionReasons
from loans.api.documents import DocumentList
from loans.api.forecasts import ForecastDetail, ForecastList
from loans.api.fraud_flags import FraudFlagDetail, FraudFlagList
from loans.api.jobs import JobDetail
from loans.api.models import ModelList
from loans.api.monitoring import AlertList, MonitoringDetail, MonitoringList
from loans.api.predictions import PredictionList
from loans.api.root import nothing_here, problem_kind
from loans.api.schema import DocsView, SchemaView
from loans.api.segments import SegmentList

app_name = "api"
urlpatterns = [
    path("v1/applications/", ApplicationList.as_view(), name="applications"),
    path("v1/applications/batch/", ApplicationBatch.as_view(), name="batch"),
    path("v1/applications/<int:pk>/", ApplicationDetail.as_view(), name="application"),
    path("v1/applications/<int:pk>/decision/", ApplicationDecision.as_view(), name="decision"),
    path("v1/applications/<int:pk>/documents/", DocumentList.as_view(), name="documents"),
    path("v1/decision-reasons/", DecisionReasons.as_view(), name="decision-reasons"),
    path("v1/predictions/", PredictionList.as_view(), name="predictions"),
    path("v1/fraud-flags/", FraudFlagList.as_view(), name="fraud-flags"),
    path("v1/fraud-flags/<int:pk>/", FraudFlagDetail.as_view(), name="fraud-flag"),
    path("v1/forecasts/", ForecastList.as_view(), name="forecasts"),
    path("v1/forecasts/<int:pk>/", ForecastDetail.as_view(), name="forecast"),
    path("v1/jobs/<int:pk>/", JobDetail.as_view(), name="job"),
    path("v1/models/", ModelList.as_view(), name="models"),
    path("v1/monitoring/", MonitoringList.as_view(), name="monitoring"),
    path("v1/monitoring/<int:pk>/", MonitoringDetail.as_view(), name="monitoring-window"),
    path("v1/alerts/", AlertList.as_view(), name="alerts"),
    path("v1/segments/", SegmentList.as_view(), name="segments"),
    path("schema/", SchemaView.as_view(), name="schema"),
    path("docs/", DocsView.as_view(url_name="api:schema"), name="docs"),
    path("problems/<slug:slug>/", problem_kind, name="problem"),
    re_path(r"^.*$", nothing_here),
]
