"""Rows, constraints, querysets and one-row predicates. Whatever crosses models is a service."""

from loans.models.amount import AmountEstimate
from loans.models.api_key import ApiKey
from loans.models.applicant import Applicant
from loans.models.application import LoanApplication, Status
from loans.models.attribute import AttributeDefinition
from loans.models.decision import Decision
from loans.models.forecast import DemandForecast
from loans.models.fraud import FlagKind, FlagState, FraudFlag, FraudFlagEvent, FraudRule, Severity
from loans.models.fraud_link import ApplicationLink, AssessmentState, FraudAssessment, FraudLabel, FraudModelVersion
from loans.models.heartbeat import Heartbeat
from loans.models.import_batch import ImportBatch, ImportRowError
from loans.models.job import RunState, ScoringJob, ScoringState
from loans.models.model_version import ModelKind, ModelState, ModelVersion
from loans.models.outcome import LoanOutcome, OutcomeState
from loans.models.policy import Advice, KnockOutRule, Policy
from loans.models.prediction import FeatureSnapshot, Prediction
from loans.models.product import LoanProduct
from loans.models.protected import ProtectedAttributes
from loans.models.segment import SegmentAssignment
from loans.models.training_run import TrainingRun

__all__ = [
    "Advice",
    "AmountEstimate",
    "ApiKey",
    "Applicant",
    "ApplicationLink",
    "AssessmentState",
    "AttributeDefinition",
    "Decision",
    "DemandForecast",
    "FeatureSnapshot",
    "FlagKind",
    "FlagState",
    "FraudAssessment",
    "FraudFlag",
    "FraudFlagEvent",
    "FraudLabel",
    "FraudModelVersion",
    "FraudRule",
    "Heartbeat",
    "ImportBatch",
    "ImportRowError",
    "KnockOutRule",
    "LoanApplication",
    "LoanOutcome",
    "LoanProduct",
    "ModelKind",
    "ModelState",
    "ModelVersion",
    "OutcomeState",
    "Policy",
    "Prediction",
    "ProtectedAttributes",
    "RunState",
    "ScoringJob",
    "ScoringState",
    "SegmentAssignment",
    "Severity",
    "Status",
    "TrainingRun",
]
