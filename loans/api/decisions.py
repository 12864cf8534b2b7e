"""Decisions on an application, and the reasons that one can be given for."""

from __future__ import annotations

from decimal import Decimal
from typing import Any, ClassVar

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from loans.api.base import DeskView
from loans.api.fields import CountField, MoneyField, RatioField, StrictSerializer, TextField
from loans.api.idempotency import IDEMPOTENCY_KEY, IDEMPOTENCY_PROBLEMS, idempotent
from loans.api.permissions import visible_application
from loans.models import Decision, DecisionProposal, ProposalState, Status
from loans.models.decision import Outcome
from loans.models.fields import APPLICATION_FIELDS, FieldSpec
from loans.services import decisions, rulepack
from loans.services.idempotency import Answer


class DecisionSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    application = serializers.IntegerField(source="application_id")
    outcome = serializers.ChoiceField(choices=Outcome.choices)
    reason = serializers.CharField(help_text="Code of the reason, from the rule pack in force.")
    reason_text = serializers.CharField(help_text="The reason as it read on the day.")
    note = serializers.SerializerMethodField(help_text="Null for whoever may not see the desk's own notes (loans.view_decision).")
    officer = serializers.SerializerMethodField(help_text="Who decided; null likewise.")
    second = serializers.SerializerMethodField(help_text="Who confirmed it, where one person was not enough; null likewise.")
    override = serializers.SerializerMethodField(help_text="Whether it goes against the policy's advice; null likewise.")
    offered_amount = serializers.DecimalField(max_digits=14, decimal_places=2, allow_null=True, help_text="Of a counter-offer.")
    offered_term_months = serializers.IntegerField(allow_null=True)
    offered_rate = serializers.DecimalField(max_digits=7, decimal_places=5, allow_null=True, help_text="A year's, as a fraction.")
    prediction = serializers.IntegerField(source="prediction_id", allow_null=True, help_text="The score that it rests on.")
    created_at = serializers.DateTimeField()

    def get_note(self, decision: Decision) -> str | None:
        return decision.note if self._sees_desk else None

    def get_officer(self, decision: Decision) -> str | None:
        return decision.officer.get_username() if self._sees_desk else None

    def get_second(self, decision: Decision) -> str | None:
        return decision.second.get_username() if self._sees_desk and decision.second_id else None

    def get_override(self, decision: Decision) -> bool | None:
        return decision.override if self._sees_desk else None

    @property
    def _sees_desk(self) -> bool:
        """Notes are written for colleagues. A client learns the outcome and the reason."""
        user = self.context["request"].user
        return user.has_perm("loans.view_decision") or user.has_perm("loans.decide_loanapplication")


class DecisionsSerializer(serializers.Serializer):
    status = serializers.ChoiceField(choices=Status.choices)
    decision = DecisionSerializer(allow_null=True, help_text="The latest; null where nobody has decided.")
    history = DecisionSerializer(many=True, help_text="All decisions, the latest first.")


class ProposalSerializer(serializers.Serializer):
    id = serializers.IntegerField()
    application = serializers.IntegerField(source="application_id")
    outcome = serializers.ChoiceField(choices=Outcome.choices)
    reason = serializers.CharField()
    note = serializers.CharField()
    needs = serializers.ListField(child=serializers.CharField(), help_text="Why one person is not enough: `limit`, `advice`.")
    state = serializers.ChoiceField(choices=ProposalState.choices)
    created_at = serializers.DateTimeField()


class DecisionInputSerializer(StrictSerializer):
    outcome = serializers.ChoiceField(choices=Outcome.choices)
    reason = TextField(FieldSpec("code", "Reason", max_length=64, required=True), help_text="A code of /api/v1/decision-reasons/.")
    note = TextField(FieldSpec("text", "Note", max_length=decisions.MAX_NOTE), required=False, default="")
    seen_prediction = CountField(
        FieldSpec("count", "Prediction", minimum=1, maximum=2**63 - 1), required=False, allow_null=True, default=None,
        help_text="Id of the prediction that you looked at: where the current one is another, nothing is decided and the answer is 409.",
    )  # fmt: skip
    override_reason = TextField(
        FieldSpec("code", "Why against the advice", max_length=64), required=False, default="",
        help_text="Needed against the advice, with a note: a code of /api/v1/decision-reasons/ whose outcome is `override`.",
    )  # fmt: skip
    offered_amount = MoneyField(
        APPLICATION_FIELDS["amount"], required=False, allow_null=True, default=None, help_text="Needed for a counter-offer."
    )
    offered_term_months = CountField(APPLICATION_FIELDS["term_months"], required=False, allow_null=True, default=None)
    offered_rate = RatioField(
        FieldSpec("ratio", "Rate offered", minimum=0, maximum=10), required=False, allow_null=True, default=None,
        help_text="A year's, as a fraction.",
    )  # fmt: skip


class ApplicationDecision(DeskView):
    scopes: ClassVar = {"GET": "read", "POST": "decide"}
    problems: ClassVar = {"POST": ("already-decided", "score-changed", "not-decidable", *IDEMPOTENCY_PROBLEMS)}
    serializer_class = DecisionsSerializer
    queryset = Decision.objects.none()

    @extend_schema(operation_id="applications_decision_retrieve", summary="Read an application's decisions", responses=DecisionsSerializer)
    def get(self, request: Request, pk: int) -> Response:
        """The application's decisions."""
        application = visible_application(request, pk)
        history = list(application.decisions.select_related("officer").order_by("-pk"))
        data = {"status": application.status, "decision": history[0] if history else None, "history": history}
        return Response(DecisionsSerializer(data, context=self.get_serializer_context()).data)

    @extend_schema(
        operation_id="applications_decision_create",
        summary="Decide an application",
        request=DecisionInputSerializer,
        parameters=[IDEMPOTENCY_KEY],
        responses={201: DecisionSerializer, 202: ProposalSerializer},
    )
    def post(self, request: Request, pk: int) -> Response:
        """Decide the application in your name. Append-only: a decision is never changed, and approve and decline are final.

        Above your limit or against the advice it is proposed instead (202): a second person confirms it in the desk.
        """
        visible_application(request, pk)
        given = DecisionInputSerializer(data=request.data)
        given.is_valid(raise_exception=True)

        wanted = dict(given.validated_data)
        amount, term, rate = (wanted.pop(name) for name in ("offered_amount", "offered_term_months", "offered_rate"))
        if amount is not None:
            wanted["offer"] = decisions.Offer(amount, term, None if rate is None else Decimal(str(rate)))

        def decide() -> Answer:
            made = decisions.decide(pk, officer=request.user, actor=request.auth, **wanted)
            if isinstance(made, DecisionProposal):
                return Answer(202, ProposalSerializer(made).data, "", [pk])
            return Answer(201, DecisionSerializer(made, context=self.get_serializer_context()).data, "", [pk])

        return idempotent(request, decide)


class DecisionReasonSerializer(serializers.Serializer):
    outcome = serializers.CharField(help_text="The outcome that it is a reason for; `override`: why a decision goes against the advice.")
    code = serializers.CharField()
    text = serializers.CharField()
    note_required = serializers.BooleanField()


class DecisionReasonsSerializer(serializers.Serializer):
    rule_pack = serializers.CharField()
    source = serializers.CharField()
    effective_from = serializers.CharField()
    reasons = DecisionReasonSerializer(many=True)


class DecisionReasons(DeskView):
    serializer_class = DecisionReasonsSerializer

    @extend_schema(operation_id="decision_reasons_retrieve", summary="Reasons for decisions")
    def get(self, request: Request) -> Response:
        """The reasons that a decision can be given for, by outcome: the rule pack in force."""
        pack = rulepack.in_force()
        reasons: list[dict[str, Any]] = [
            {"outcome": outcome, "code": reason.code, "text": reason.text, "note_required": reason.note_required}
            for outcome, by_code in pack.reasons.items()
            for reason in by_code.values()
        ]
        reasons += [
            {"outcome": "override", "code": each.code, "text": each.text, "note_required": True} for each in pack.overrides.values()
        ]
        data = {"rule_pack": pack.name, "source": pack.source, "effective_from": pack.effective_from, "reasons": reasons}
        return Response(DecisionReasonsSerializer(data).data)
