"""What pages show of fraud: an application's assessment with its flags and links, and the investigators' queue."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.db.models import QuerySet
from django.utils.translation import gettext

from loans.models import AssessmentState, FlagKind, FraudAssessment, FraudFlag, LoanApplication
from loans.queries.words import day_of, fixed, moment_of, money, percent, span, whole
from mlcore.fraud.facts import COMPONENT_LIMIT, HUB_LIMIT, KIND_LABELS, KINDS, LABELS, LINKING

MOST_NODES = 14
ELSEWHERE = "another branch's"
WIDTH, HEIGHT = 360, 220
TONES = {0: "default", 1: "info", 2: "warning", 3: "danger", 4: "danger"}
STATE_TONES = {"open": "warning", "snoozed": "info", "confirmed": "danger", "cleared": "success"}


@dataclass(frozen=True)
class Node:
    """A circle of the link graph. x, y and r are strings: no locale's decimal comma gets into an SVG."""

    x: str
    y: str
    r: str
    label: str
    title: str
    tone: str
    application_id: int | None = None
    text_y: str = ""


@dataclass(frozen=True)
class Edge:
    x1: str
    y1: str
    x2: str
    y2: str
    width: str
    title: str


@dataclass(frozen=True)
class Linked:
    """One edge of the picture in words, for whoever reads instead of looking."""

    label: str
    shared: str
    earlier: str
    fraud: bool
    application_id: int | None


@dataclass(frozen=True)
class Graph:
    """The application in the middle, around it the earlier ones that share an identifier with it, the most alike first."""

    nodes: list[Node]
    edges: list[Edge]
    more: int = 0
    in_words: str = ""
    rows: list[Linked] = field(default_factory=list)
    width: int = WIDTH
    height: int = HEIGHT


@dataclass(frozen=True)
class Line:
    label: str
    value: str
    tone: str = ""
    detail: str = ""


@dataclass(frozen=True)
class FraudPanel:
    """title: the state in words; assessed: whether there is a score at all. lines: link features that say something."""

    assessed: bool
    title: str
    text: str
    score: str = ""
    flags: list[FraudFlag] = field(default_factory=list)
    evidence: list[dict[str, Any]] = field(default_factory=list)
    lines: list[Line] = field(default_factory=list)
    trace: list[Line] = field(default_factory=list)
    graph: Graph | None = None
    warnings: list[str] = field(default_factory=list)


def flags_for(application: LoanApplication, visible: QuerySet[LoanApplication]) -> FraudPanel:
    """All that a page about this application shows of fraud; five short queries. Whether its reader may see it is the caller's to ask.

    visible: the applications that the reader may see; of others the link graph says that there are some, not which.
    """
    assessment = FraudAssessment.objects.select_related("rule_set").filter(pk=application.pk).first()
    flags = list(application.fraud_flags.select_related("assignee", "disposed_by").order_by("-severity", "pk"))
    for flag in flags:
        flag.tone, flag.state_tone = TONES[flag.severity], STATE_TONES[flag.state]
    if assessment is None or assessment.score is None:
        return FraudPanel(False, *_not_assessed(assessment), flags=flags)
    score = percent(assessment.score) if assessment.calibrated else fixed(assessment.score, 2)
    text = (
        gettext("Probability of fraud %(score)s, calibrated on investigated cases.") % {"score": score}
        if assessment.calibrated
        else gettext(
            "Suspicion %(score)s of 1: evidence added up by stated weights. There are too few confirmed cases yet for a probability."
        )
        % {"score": score}
    )
    failed = assessment.state != AssessmentState.ASSESSED
    features, traces = assessment.findings()
    return FraudPanel(
        assessed=True,
        title=_title(flags),
        text=text + (gettext(" It is to be assessed anew; this is the earlier result.") if failed else ""),
        score=score,
        flags=flags,
        evidence=flags[0].evidence if flags else [],
        lines=_lines(features),
        trace=[_trace_line(each) for each in traces],
        graph=link_graph(application, visible),
        warnings=_warnings(application, assessment, features),
    )


def _warnings(application: LoanApplication, assessment: FraudAssessment, features: dict[str, Any]) -> list[str]:
    """What makes this assessment say less than it seems to."""
    made = []
    hubs, size = features.get("hub_keys") or 0, features.get("component_size") or 0
    if hubs:
        what = gettext("One of its identifiers is") if hubs == 1 else gettext("%(hubs)s of its identifiers are") % {"hubs": f"{hubs:g}"}
        made.append(
            gettext(
                "%(what)s shared by more than %(hub_limit)s earlier applications, as a payroll office's phone is: these "
                "are counted, and linked to nobody."
            )
            % {"what": what, "hub_limit": HUB_LIMIT}
        )
    if size > COMPONENT_LIMIT:
        made.append(
            gettext("Its connected group is larger than %(component_limit)s applications: its age and its frauds were not looked at.")
            % {"component_limit": COMPONENT_LIMIT}
        )
    if assessment.assessed_at and application.submitted_at > assessment.assessed_at + timedelta(days=1):
        made.append(
            gettext("It is dated %(submitted_at)s, after the day on which it was assessed: check the date.")
            % {"submitted_at": day_of(application.submitted_at)}
        )
    return made


def _title(flags: list[FraudFlag]) -> str:
    """A drawn sample is no suspicion, and must not read like one."""
    kinds = {flag.kind for flag in flags if not flag.is_disposed}
    return "Flagged" if FlagKind.ALERT in kinds else gettext("Drawn for a random review") if kinds else gettext("Nothing open")


def _not_assessed(assessment: FraudAssessment | None) -> tuple[str, str]:
    if assessment is None:
        return gettext("Not assessed"), gettext("This application was never looked at for fraud.")
    if assessment.state == AssessmentState.HISTORY:
        return gettext("Not assessed"), gettext("It was decided before Loandesk. Its identifiers link later applications.")
    if assessment.state == AssessmentState.FAILED:
        times = "once" if assessment.attempts == 1 else f"{assessment.attempts} times"
        return (
            gettext("Not assessed"),
            gettext("The search for fraud failed %(times)s (%(error)s); it is tried again by itself. Don't take this for a pass.")
            % {"times": times, "error": assessment.error},
        )
    return gettext("Not assessed yet"), gettext("The search for fraud has not looked at this application yet. Don't take this for a pass.")


def _lines(features: dict[str, Any]) -> list[Line]:
    """The link features that say something; hubs are named, since what is suppressed must not look like nothing."""
    shown = []
    for name, label in LABELS.items():
        value = features.get(name)
        if not value:
            continue
        if name == "hub_keys":
            shown.append(
                Line(
                    label,
                    f"{value:g}",
                    "info",
                    gettext("More than %(hub_limit)s applications used it before this one.") % {"hub_limit": HUB_LIMIT},
                )
            )
        elif name == "component_age_days":
            shown.append(Line(label, fixed(value, 1)))
        else:
            shown.append(Line(label, f"{value:,g}", "danger" if "fraud" in name else ""))
    return shown


def _trace_line(trace: dict[str, Any]) -> Line:
    tones = {"hit": "danger", "no_hit": "", "not_applicable": "info"}
    words = {"hit": "hit", "no_hit": "no hit", "not_applicable": "not applicable"}
    seen = []
    for each in trace["conditions"]:
        label = LABELS.get(each["feature"]) or each["feature"].replace("_", " ")
        value = "–" if each["value"] is None else each["value"]
        limit = "" if each["threshold"] is None else f" {each['threshold']}"
        seen.append(f"{label}: {value} ({each['operator'].replace('_', ' ')}{limit})")
    return Line(f"{trace['name']} (v{trace['version']})", words[trace["outcome"]], tones[trace["outcome"]], "; ".join(seen))


def link_graph(application: LoanApplication, visible: QuerySet[LoanApplication]) -> Graph | None:
    """The earlier applications that share an identifier, hubs left out; None where there are none. Those out of scope have no name."""
    rows = _neighbours(application.pk)
    if not rows:
        return None
    shown, more = rows[:MOST_NODES], max(len(rows) - MOST_NODES, 0)
    mine = set(visible.filter(pk__in=[row[0] for row in shown]).values_list("pk", flat=True))
    shown = [row if row[0] in mine else (None, ELSEWHERE, *row[2:]) for row in shown]
    nodes, edges, lines = [], [], []
    middle_x, middle_y = WIDTH / 2, HEIGHT / 2
    for number, (pk, reference, kinds, fraud, days) in enumerate(shown):
        angle = 2 * math.pi * number / len(shown) - math.pi / 2
        x, y = middle_x + (WIDTH / 2 - 60) * math.cos(angle), middle_y + (HEIGHT / 2 - 28) * math.sin(angle)
        shared = ", ".join(KIND_LABELS[KINDS[kind]] for kind in sorted(kinds))
        title = gettext("%(reference)s, %(days)s days before: same %(shared)s") % {
            "reference": reference,
            "days": whole(days),
            "shared": shared,
        } + (" – confirmed fraud" if fraud else "")
        tone = "fraud" if fraud else "alike" if len(kinds) > 1 else "other"
        lines.append(Linked(reference, shared, span(86_400 * days) or gettext("less than a minute"), fraud, pk))
        nodes.append(Node(_s(x), _s(y), "7", reference, title, tone, pk, _s(y + 17 if y > middle_y else y - 12)))
        edges.append(Edge(_s(middle_x), _s(middle_y), _s(x), _s(y), _s(1 + len(kinds)), f"Same {shared}"))
    nodes.append(
        Node(_s(middle_x), _s(middle_y), "10", application.external_reference, gettext("This application"), "mine", None, _s(middle_y + 22))
    )
    frauds = sum(fraud for *_, fraud, _ in rows)
    in_words = gettext("%(count)s earlier application%(more)s an identifier with this one") % {
        "count": whole(len(rows)),
        "more": gettext("s share") if len(rows) > 1 else gettext(" shares"),
    }
    return Graph(
        nodes, edges, more, in_words + (gettext("; %(frauds)s confirmed as fraud") % {"frauds": frauds} if frauds else "") + ".", lines
    )


def _s(value: float) -> str:
    return f"{value:.1f}"


def _neighbours(application_id: int) -> list[tuple[int, str, list[int], bool, float]]:
    """(id, reference, kinds shared, known fraud by now, days before), the most alike and nearest in time first."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            SELECT seen.application_id, application.external_reference, array_agg(DISTINCT own.kind),
                   EXISTS (SELECT 1 FROM loans_fraudlabel label
                           WHERE label.application_id = seen.application_id AND label.fraud AND label.withdrawn_at IS NULL),
                   extract(epoch FROM min(own.submitted_at) - min(seen.submitted_at)) / 86400
            FROM loans_applicationlink own CROSS JOIN LATERAL (
                SELECT other.application_id, other.submitted_at, count(*) OVER () AS many FROM (
                    SELECT application_id, submitted_at FROM loans_applicationlink link
                    WHERE link.kind = own.kind AND link.digest = own.digest AND link.submitted_at < own.submitted_at
                    ORDER BY submitted_at, application_id LIMIT %s) other) seen
            JOIN loans_loanapplication application ON application.id = seen.application_id
            WHERE own.application_id = %s AND own.kind < %s AND seen.many < %s
            GROUP BY seen.application_id, application.external_reference
            ORDER BY count(DISTINCT own.kind) DESC, min(seen.submitted_at) DESC, seen.application_id LIMIT 200
            """,
            [HUB_LIMIT, application_id, len(LINKING), HUB_LIMIT],
        )
        return [(pk, reference, kinds, fraud, float(days)) for pk, reference, kinds, fraud, days in cursor.fetchall()]


def with_open_flag(applications: QuerySet[LoanApplication], *, flagged: bool = True) -> QuerySet[LoanApplication]:
    """The inbox's filter. A drawn sample is no suspicion, and does not count."""
    open_flags = FraudFlag.objects.undisposed().filter(kind="alert").values("application")
    return applications.filter(pk__in=open_flags) if flagged else applications.exclude(pk__in=open_flags)


def in_short(flag: FraudFlag) -> tuple[str, int]:
    """(what weighs most, how much more there is): a list has room for one."""
    texts = [str(each.get("text") or "") for each in flag.evidence if isinstance(each, dict)]
    return (texts[0], len(texts) - 1) if texts and flag.kind == FlagKind.ALERT else (flag.in_words, 0)


def when(moment: datetime | None) -> str:
    return f"{moment_of(moment)} UTC" if moment else "–"


def stakes(flag: FraudFlag) -> str:
    return f"{money(flag.expected_loss)} expected loss"
