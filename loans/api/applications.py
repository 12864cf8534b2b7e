"""Applications: submit one, list them, read one."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, ClassVar

from django.core.validators import MaxLengthValidator, MaxValueValidator, MinValueValidator, ProhibitNullCharactersValidator
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.validators import ProhibitSurrogateCharactersValidator

from loans.api import shown
from loans.api.amounts import AmountRangeSerializer
from loans.api.attributes import AttributesField
from loans.api.base import DeskView
from loans.api.decisions import DecisionSerializer
from loans.api.fields import CountField, RatioField, StrictSerializer, TextField, input_field
from loans.api.filters import TimeFilter
from loans.api.fraud_flags import VIEW as VIEW_FLAGS
from loans.api.fraud_flags import ApplicationFraudSerializer, fraud_of
from loans.api.idempotency import IDEMPOTENCY_KEY, IDEMPOTENCY_PROBLEMS, idempotent
from loans.api.jobs import JobSummarySerializer
from loans.api.permissions import require, sees_personal_data, visible_application
from loans.api.predictions import PredictionSerializer
from loans.api.problems import InvalidRequest
from loans.api.segments import SegmentAssignmentSerializer
from loans.models import AmountEstimate, LoanApplication, Prediction, SegmentAssignment, Status
from loans.models.fields import APPLICANT_FIELDS, APPLICATION_FIELDS, FieldSpec
from loans.services import at_once, audit, intake
from loans.services.idempotency import Answer

MASK = "•••"


def _output_field(name: str, spec: FieldSpec) -> serializers.Field:
    if name == "product":
        return serializers.CharField(source="product.code", default=None, allow_null=True)
    if spec.kind == "money":
        return serializers.DecimalField(max_digits=14, decimal_places=2, allow_null=not spec.required)
    if spec.kind in ("ratio", "count"):
        return (serializers.FloatField if spec.kind == "ratio" else serializers.IntegerField)(allow_null=True)
    if spec.kind == "time":
        return serializers.DateTimeField()
    return serializers.CharField(allow_null=name != "external_reference")


def _made(name: str, base: type, fields: dict[str, serializers.Field], doc: str) -> type:
    return type(name, (base,), {**fields, "__doc__": doc, "__module__": __name__})


_ApplicantInput = _made(
    "ApplicantInputSerializer",
    StrictSerializer,
    {name: input_field(name, spec) for name, spec in APPLICANT_FIELDS.items()},
    "Who applies. Stored encrypted.",
)
ApplicationInputSerializer = _made(
    "ApplicationInputSerializer",
    StrictSerializer,
    {
        **{name: input_field(name, spec) for name, spec in APPLICATION_FIELDS.items()},
        "applicant": _ApplicantInput(required=False, allow_null=True),
        "attributes": AttributesField(required=False, allow_null=True, help_text="The lender's own fields, each declared beforehand."),
    },
    "One application. All but `amount` may be missing.",
)
# One for all requests: validating leaves nothing in it, and making its 34 fields anew costs as much as the rest of a request.
_INPUT = ApplicationInputSerializer()
_INPUT.fields["applicant"].fields  # noqa: B018 - bound now, before there are threads
_REQUIRED = tuple(name for name, field in _INPUT.fields.items() if field.required)


def read_application(data: Any) -> dict[str, Any]:
    """The fields of one application from its JSON. Raises ValidationError with what is wrong by path."""
    try:
        return _quickly(data, _INPUT)
    except Exception:  # whatever it is, the serializer's own way says it in words
        return _INPUT.run_validation(data)


def _quickly(data: Any, serializer: serializers.Serializer) -> dict[str, Any]:
    """What the serializer gives for an object without a fault, in a fifth of its time; any exception for what it might not take."""
    plan, read = _plan(serializer), {}
    for name, value in data.items():
        field, convert, validators, allows_null, allows_blank = plan[name]
        if value is None and allows_null:
            continue
        if convert is None:
            read[name] = _quickly(value, field)
            continue
        read[name] = value = convert(value)
        if value == "" and not allows_blank:
            raise ValueError(name)
        for validator in validators:
            validator(value)
    for name in _REQUIRED if serializer is _INPUT else ():
        read[name]
    return read


@functools.cache
def _plan(serializer: serializers.Serializer) -> dict[str, tuple]:
    """{name: (field, its to_internal_value or None for an object, validators, null allowed, blank allowed)}. Validators that only repeat
    what the fields of `loans.api.fields` have looked at already are left out.
    """
    plan = {}
    for name, field in serializer.fields.items():
        nested = isinstance(field, serializers.Serializer)
        repeats = (ProhibitNullCharactersValidator, ProhibitSurrogateCharactersValidator) if isinstance(field, TextField) else ()
        if isinstance(field, CountField | RatioField):
            repeats = (MinValueValidator, MaxValueValidator)
        validators = [each for each in field.validators if not isinstance(each, repeats)]
        blank = getattr(field, "allow_blank", True)
        convert = None if nested else field.to_internal_value
        if isinstance(field, TextField):
            validators = [each for each in validators if not isinstance(each, MaxLengthValidator)]
            convert = _text(field)
        elif isinstance(field, CountField | RatioField):
            convert = _number(field)
        plan[name] = (field, convert, validators, field.allow_null, blank)
    return plan


def _text(field: TextField) -> Callable[[Any], str]:
    """Its `to_internal_value` and its limit; at sight where nothing can be wrong."""
    read, most, plain = field.to_internal_value, field.max_length, type(field) is TextField

    def text(data: Any) -> str:
        if plain and data.__class__ is str and len(data) <= most and data.isascii() and data.isprintable():
            return data.strip()
        value = read(data)
        if len(value) > most:
            raise ValueError("too long")
        return value

    return text


def _number(field: CountField | RatioField) -> Callable[[Any], float]:
    """Its `to_internal_value`; at sight for what is of its type and within its limits."""
    read, low, high = field.to_internal_value, field.spec.minimum, field.spec.maximum
    if low is None or high is None:
        return read

    def ratio(data: Any) -> float:
        return data if data.__class__ is float and low <= data <= high else read(data)

    def count(data: Any) -> int:
        whole = data.__class__ is int or (data.__class__ is float and data.is_integer())
        return int(data) if whole and low <= data <= high else read(data)

    return count if isinstance(field, CountField) else ratio


ApplicantSerializer = _made(
    "ApplicantSerializer",
    serializers.Serializer,
    {name: serializers.CharField(allow_null=True) for name in APPLICANT_FIELDS},
    f"Each value that was given, or {MASK} in its place for whoever may not see personal data.",
)


class _ApplicationSummary(serializers.Serializer):
    """What a list shows; nothing in it is encrypted."""

    def to_representation(self, instance: LoanApplication) -> dict[str, Any]:
        # The database says "not given" of a text as an empty one.
        return {name: None if value == "" else value for name, value in super().to_representation(instance).items()}


ApplicationSummarySerializer = _made(
    "ApplicationSummarySerializer",
    _ApplicationSummary,
    {
        "id": serializers.IntegerField(),
        "url": serializers.HyperlinkedIdentityField(view_name="api:application", lookup_field="pk"),
        **{name: _output_field(name, spec) for name, spec in APPLICATION_FIELDS.items()},
        "status": serializers.ChoiceField(choices=Status.choices),
        "default_probability": serializers.FloatField(allow_null=True, help_text="Of the latest score."),
        "grade": serializers.CharField(allow_null=True),
        "synthetic": serializers.BooleanField(help_text="Made up by the demo generator: no real person applied."),
        "created_at": serializers.DateTimeField(),
    },
    "An application without its applicant, attributes and history.",
)


class ApplicationSerializer(ApplicationSummarySerializer):
    """An application with its applicant, the state of its score, and the latest decision."""

    attributes = serializers.DictField(child=serializers.JSONField(), help_text="Without the protected ones, which nobody decides by.")
    applicant = serializers.SerializerMethodField()
    applicant_masked = serializers.SerializerMethodField(help_text="Whether personal data are withheld from you.")
    job = JobSummarySerializer(source="latest_job", allow_null=True)
    prediction = PredictionSerializer(source="latest_prediction", allow_null=True, help_text="The score that counts, with its reasons.")
    amount_range = AmountRangeSerializer(source="latest_amount", allow_null=True, help_text="Null where no amount model served at scoring.")
    segment = SegmentAssignmentSerializer(source="latest_segment", allow_null=True, help_text="Null where no groups are known.")
    fraud = ApplicationFraudSerializer(
        source="latest_fraud", allow_null=True, help_text="Null for an account that may not view fraud flags."
    )
    decision = DecisionSerializer(source="latest_decision", allow_null=True)

    @extend_schema_field(ApplicantSerializer(allow_null=True))
    def get_applicant(self, application: LoanApplication) -> dict[str, str | None] | None:
        applicant = application.applicant
        if applicant is None:
            return None
        masked = self.get_applicant_masked(application)
        values = {name: str(getattr(applicant, name) or "") for name in APPLICANT_FIELDS}
        return {name: (MASK if masked else value) if value else None for name, value in values.items()}

    def get_applicant_masked(self, application: LoanApplication) -> bool:
        return not sees_personal_data(self.context["request"].user, application)


_held = threading.local()


def represented(application: LoanApplication, context: dict[str, Any]) -> dict[str, Any]:
    """ApplicationSerializer's data. Each thread keeps one serializer: making its 60 fields anew costs more than filling them."""
    serializer = getattr(_held, "serializer", None)
    if serializer is None:
        serializer = _held.serializer = ApplicationSerializer()
    serializer._context = context
    try:
        data = shown.represented(serializer, application, context["request"])
        return {name: None if value == "" else value for name, value in data.items()}
    finally:
        serializer._context = {}


class ApplicationFilter(filters.FilterSet):
    status = filters.MultipleChoiceFilter(choices=Status.choices)
    grade = filters.CharFilter(max_length=2)
    product = filters.CharFilter(field_name="product__code", max_length=64)
    segment = filters.NumberFilter(min_value=0, max_value=32_767, decimal_places=0)
    external_reference = filters.CharFilter(max_length=64)
    amount_min = filters.NumberFilter(field_name="amount", lookup_expr="gte", max_digits=14, decimal_places=2)
    amount_max = filters.NumberFilter(field_name="amount", lookup_expr="lte", max_digits=14, decimal_places=2)
    submitted_after = TimeFilter(field_name="submitted_at", lookup_expr="gte")
    submitted_before = TimeFilter(field_name="submitted_at", lookup_expr="lt")


class ApplicationList(DeskView):
    listed = True
    scopes: ClassVar = {"GET": "read", "POST": "submit"}
    problems: ClassVar = {"POST": ("duplicate-reference", *IDEMPOTENCY_PROBLEMS)}
    orderings = ("-id", "id", "submitted_at", "-submitted_at", "amount", "-amount", "default_probability", "-default_probability")
    serializer_class = ApplicationSummarySerializer
    filterset_class = ApplicationFilter
    queryset = LoanApplication.objects.none()

    @property
    def parameters(self) -> tuple[str, ...]:
        return ("wait",) if self.request.method == "POST" else ()

    def get_queryset(self) -> object:
        return LoanApplication.objects.visible_to(self.request.user).select_related("product")

    @extend_schema(operation_id="applications_list", summary="List applications", responses=ApplicationSummarySerializer(many=True))
    def get(self, request: Request) -> Response:
        """Applications that you may see: your own, or all of them for staff who may view applications. Newest first."""
        return self.listing(request)

    @extend_schema(
        operation_id="applications_create",
        summary="Submit an application",
        request=ApplicationInputSerializer,
        responses={201: ApplicationSerializer},
        parameters=[
            OpenApiParameter("wait", {"type": "string", "enum": ["0", "1"]}, description="1: score within the request (scope `read` too)."),
            IDEMPOTENCY_KEY,
            OpenApiParameter("Location", str, OpenApiParameter.HEADER, response=[201], description="Address of the application."),
        ],
    )
    def post(self, request: Request) -> Response:
        """Submit one application. It is stored with its scoring job; the score follows within seconds, or with `wait=1` in this answer."""
        waits = self._waits(request)
        return idempotent(request, lambda: self._submit(request, waits))

    def _submit(self, request: Request, waits: bool) -> Answer:
        fields = read_application(request.data)
        if waits:
            received = at_once.submit(fields, submitted_by=request.user, assess=request.user.has_perm(VIEW_FLAGS))
        else:
            received = at_once.Received(**vars(intake.submit(fields, submitted_by=request.user)))
        application = received.application
        application.latest_job, application.latest_prediction, application.latest_decision = received.job, received.prediction, None
        application.latest_amount, application.latest_segment = received.amount, received.segment
        application.latest_fraud = fraud_of(application, request.user) if waits else None
        data = represented(application, self.get_serializer_context())
        return Answer(201, data, data["url"], [application.pk])

    @staticmethod
    def _waits(request: Request) -> bool:
        asked = request.query_params.get("wait", "0")
        if asked not in ("0", "1"):
            raise InvalidRequest({"wait": "must be 0 or 1"})
        if asked == "1":
            require(request, "read")
        return asked == "1"


class ApplicationDetail(DeskView):
    serializer_class = ApplicationSerializer
    queryset = LoanApplication.objects.none()

    @extend_schema(operation_id="applications_retrieve", summary="Read an application")
    def get(self, request: Request, pk: int) -> Response:
        """One application, with the state of its score and the latest decision."""
        application = visible_application(request, pk, "product", "applicant")
        application.latest_job = application.scoring_jobs.order_by("-pk").first()
        application.latest_prediction = Prediction.objects.latest_of(application)
        application.latest_amount = AmountEstimate.objects.latest_of(application)
        application.latest_segment = SegmentAssignment.objects.latest_of(application)
        application.latest_fraud = fraud_of(application, request.user)
        application.latest_decision = application.decisions.select_related("officer").order_by("-pk").first()
        if application.applicant_id and sees_personal_data(request.user, application):
            audit.record("applicant.viewed", actor=request.auth or request.user, subject=application)
        return Response(represented(application, self.get_serializer_context()))
