"""Rows, constraints, querysets and one-row predicates. Whatever crosses models is a service."""

from loans.models.alert import Alert, AlertRule, AlertState, Retraining
from loans.models.amount import AmountEstimate
from loans.models.api_key import ApiKey
from loans.models.applicant import Applicant
from loans.models.application import LoanApplication, Status
from loans.models.archive import TableArchive
from loans.models.attribute import AttributeDefinition
from loans.models.audit_event import AuditEvent, AuditSeal
from loans.models.bulk_run import BulkChunk, BulkKind, BulkRun, ChunkState
from loans.models.comparison import ModelComparison
from loans.models.decision import Decision, DecisionProposal, ProposalState
from loans.models.document import Document, DocumentKind
from loans.models.forecast import DemandForecast
from loans.models.fraud import FlagKind, FlagState, FraudFlag, FraudFlagEvent, FraudRule, FraudRuleSet, Severity
from loans.models.fraud_link import ApplicationLink, AssessmentState, FraudAssessment, FraudLabel
from loans.models.heartbeat import Heartbeat
from loans.models.idempotency import IdempotentAnswer
from loans.models.import_batch import ImportBatch, ImportRowError, ImportUndo
from loans.models.import_upload import ImportUpload
from loans.models.inbox_run import InboxAction, InboxRun, SavedView
from loans.models.job import RunState, ScoringJob, ScoringState
from loans.models.model_version import ModelAction, ModelEvent, ModelKind, ModelState, ModelVersion, PromotedHow
from loans.models.monitoring import MonitoringFigure, MonitoringWindow
from loans.models.notice import AdverseActionNotice
from loans.models.outcome import LoanOutcome, OutcomeState
from loans.models.policy import Advice, KnockOutRule, Policy
from loans.models.prediction import BaselineKind, FeatureSnapshot, Prediction
from loans.models.product import LoanProduct
from loans.models.promotion import CheckState, FindingStatus, PromotionCheck, PromotionFinding, PromotionPolicy
from loans.models.protected import ProtectedAttributes
from loans.models.second_factor import SecondFactor
from loans.models.segment import SegmentAssignment, SegmentFollowUp
from loans.models.staff import Branch, OfficerProfile
from loans.models.table_edit import EditState, TableEdit
from loans.models.training_run import TrainingRun
from loans.models.webhook import DeliveryState, WebhookDelivery, WebhookEndpoint

__all__ = [
    "AdverseActionNotice",
    "Advice",
    "Alert",
    "AlertRule",
    "AlertState",
    "AmountEstimate",
    "ApiKey",
    "Applicant",
    "ApplicationLink",
    "AssessmentState",
    "AttributeDefinition",
    "Branch",
    "BulkChunk",
    "BulkKind",
    "BulkRun",
    "ChunkState",
    "AuditEvent",
    "AuditSeal",
    "BaselineKind",
    "Branch",
    "CheckState",
    "InboxAction",
    "InboxRun",
    "Decision",
    "Document",
    "DocumentKind",
    "DeliveryState",
    "DecisionProposal",
    "DemandForecast",
    "EditState",
    "FeatureSnapshot",
    "FindingStatus",
    "FlagKind",
    "FlagState",
    "FraudAssessment",
    "FraudFlag",
    "FraudFlagEvent",
    "FraudLabel",
    "FraudRule",
    "FraudRuleSet",
    "Heartbeat",
    "IdempotentAnswer",
    "ImportBatch",
    "ImportRowError",
    "ImportUndo",
    "ImportUpload",
    "KnockOutRule",
    "LoanApplication",
    "LoanOutcome",
    "LoanProduct",
    "ModelAction",
    "ModelComparison",
    "ModelEvent",
    "ModelKind",
    "ModelState",
    "ModelVersion",
    "OfficerProfile",
    "MonitoringFigure",
    "MonitoringWindow",
    "OutcomeState",
    "Policy",
    "Prediction",
    "PromotedHow",
    "ProposalState",
    "PromotionCheck",
    "PromotionFinding",
    "PromotionPolicy",
    "ProtectedAttributes",
    "Retraining",
    "RunState",
    "SavedView",
    "ScoringJob",
    "ScoringState",
    "SecondFactor",
    "SegmentAssignment",
    "SegmentFollowUp",
    "Severity",
    "Status",
    "TableArchive",
    "TableEdit",
    "TrainingRun",
    "WebhookDelivery",
    "WebhookEndpoint",
]
