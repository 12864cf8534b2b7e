"""What each figure says, in one sentence: the only place that holds these sentences. Templates show them with `{% explain "name" %}`."""

from __future__ import annotations

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

EXPLAIN: dict[str, tuple[Promise, Promise]] = {
    # --- the application ------------------------------------------------------------------------------------------------
    "probability": (
        _("Default probability"),
        _("How likely it is that the loan is not repaid, calibrated on past loans: of 100 applicants who get 12%, about 12 default."),
    ),
    "grade": (
        _("Grade and points"),
        _("The probability again, as a letter from A (least risk) to G and as points, of which more are better: no further judgement."),
    ),
    "compared": (
        _("Compared with"),
        _("The same probability beside the average of all loans that the model learned from, and beside where the policy draws its lines."),
    ),
    "advice": (
        _("Advice"),
        _("What the policy in force makes of the probability and of the knock-out rules; whoever decides otherwise says why."),
    ),
    "reasons": (
        _("Why"),
        _("What raises or lowers this probability most, against the applicants named below; a bar to the right speaks for default."),
    ),
    "carry": (
        _("Can they carry it?"),
        _("The instalment without interest beside the income stated: arithmetic, and no look at taxes or the cost of living."),
    ),
    "amount_range": (
        _("Amount range"),
        _("What repaid loans of applicants like this one came to: one in ten was below the low end, one in ten above the high end."),
    ),
    "segment": (
        _("Segment"),
        _("The group of applicants that this one resembles most; it tells what is usual for them and takes no part in the decision."),
    ),
    "fraud": (
        _("Fraud"),
        _("What rules, links to other applications and unusual values say together; a flag asks for a look and declines nobody."),
    ),
    "links": (
        _("Linked applications"),
        _("Earlier applications with the same phone, bank account, address or the like; families and payroll offices share these too."),
    ),
    "similar": (
        _("The like of it"),
        _("The past loans nearest to this one in what was stated, with how they ended: ten cases to picture it, not a rate."),
    ),
    "notice_due": (
        _("Notice due"),
        _("The last day on which the applicant may be told of a decision, counted from the day he applied by the rule pack in force."),
    ),
    "model_worth": (
        _("What the model is worth"),
        _("How well the model told later loans apart that it had not learned from, each figure beside what knowing nothing would give."),
    ),
    "timeline": (
        _("What happened"),
        _("Every score, decision, notice and document, and every person who looked at this page; times are UTC."),
    ),
    "documents": (
        _("Documents"),
        _("Papers that support what was stated; nobody reads them by machine, and no figure on this page rests on them."),
    ),
    # --- home -----------------------------------------------------------------------------------------------------------
    "to_decide": (_("To decide"), _("Applications in your scope that have a score or need a person, and no decision yet.")),
    "waiting_for_score": (_("Waiting for score"), _("Applications that came in and are not scored yet; workers take them in turn.")),
    "auc": (
        _("AUC"),
        _("Of a loan that defaulted and one that was repaid, how often the model calls the right one riskier; a coin would in 0.5."),
    ),
    "waits": (_("What waits for you"), _("What has a deadline or asks for you, the most pressing first; each number opens its list.")),
    "intake": (
        _("Today's intake"),
        _("Applications of today so far beside those that the nightly forecast expects of the whole day, in all branches together."),
    ),
    "health": (
        _("How the models stand"),
        _("What the last look at each serving model found; “needs a look” means that a figure left its limits or an alert is open."),
    ),
    "riskiest": (_("Riskiest to decide"), _("The undecided applications of your scope with the highest default probability.")),
    # --- the fraud queue ------------------------------------------------------------------------------------------------
    "expected_loss": (
        _("Expected loss"),
        _("The amount asked for times how suspicious it is times the share that is usually lost: it only orders the queue."),
    ),
    "random_review": (
        _("Random review"),
        _("An application that nothing speaks against, drawn by chance: only these show what the search for fraud misses."),
    ),
    "capacity": (
        _("Today"),
        _("How many flags the team gets through in a day, as set by FRAUD_DAILY_CAPACITY, and how many it did today."),
    ),
    "severity": (_("Severity"), _("How much the gravest rule that hit weighs, from the rule itself; it does not tell how certain it is.")),
    # --- monitoring -----------------------------------------------------------------------------------------------------
    "psi": (
        _("Stability index"),
        _("How far the values have moved from the reference's: 0 is not at all; below 0.1 is usual, above 0.25 a lot."),
    ),
    "usual_up_to": (_("Usual up to"), _("95 of 100 windows of this size in which nothing has changed lie below.")),
    "p_adjusted": (
        _("p, adjusted"),
        _("How often chance alone would show as much, allowing for all tests of this window together (Holm)."),
    ),
    "divergence": (_("Divergence"), _("Another measure of the same move, in bits: 0 is the same distribution, 1 nothing in common.")),
    "missing": (_("Missing"), _("The share of applications in which this was not given, now and in the reference.")),
    "outside": (_("Outside of what was known"), _("The share of values that the model never saw while it learned.")),
    "joint_auc": (
        _("Inputs together"),
        _("How well a classifier tells this window's applications from the reference's: 0.5 is not at all."),
    ),
    "output_psi": (_("Output's stability index"), _("How far what the model says has moved from what it said of the reference.")),
    "default_rate": (_("Default rate"), _("The share of this window's loans with a known outcome that defaulted.")),
    "oe": (_("Observed / expected"), _("Defaults that came over those that the probabilities promised: above 1 the model is too kind.")),
    "ks": (_("KS"), _("The largest gap between how defaulted and repaid loans spread over the score: 0 is none, 1 tells all apart.")),
    "brier": (_("Brier score"), _("The mean squared distance of the probabilities from what came: smaller is better.")),
    "slope": (_("Calibration slope"), _("Below 1 the model is too sure of itself, above 1 too timid.")),
    "residual": (
        _("Meaning of a column"),
        _("Whether the model's errors go with this column: if so, it means something else than it did."),
    ),
    "cbpe_auc": (
        _("AUC, estimated"),
        _("What the probabilities themselves promise before any outcome is known; blind to a changed meaning."),
    ),
    "cbpe_brier": (_("Brier score, estimated"), _("What the probabilities themselves promise before any outcome is known.")),
    "cbpe_rate": (_("Default rate, estimated"), _("The mean of the probabilities given in this window.")),
    "cbpe_oe": (_("Range to expect"), _("Where observed over expected will lie by chance alone once the outcomes are known.")),
    "check_auc": (
        _("Outcome less estimate"),
        _("How far the estimate was off, now that the outcomes are known: near 0 it can be trusted."),
    ),
    "check_brier": (
        _("Outcome less estimate"),
        _("How far the estimate was off, now that the outcomes are known: near 0 it can be trusted."),
    ),
    "early_bad": (
        _("Gone bad by month on book"),
        _("The share of loans that had gone bad by this age: a hint long before all outcomes are known."),
    ),
    "override_rate": (_("Overrides"), _("The share of final decisions against the advice.")),
    "override_default": (_("Defaults of overridden declines"), _("How loans ended that were approved although the advice was to decline.")),
    "approval_rate": (_("Approvals"), _("The share of final decisions that approved.")),
    "forecast_error": (_("Demand forecast"), _("1 less the error as a share of what came: 1 is exact, 0 as bad as forecasting nothing.")),
    "fraud_precision": (_("Fraud flags confirmed"), _("The share of the flags that were worked on which turned out to be fraud.")),
    "latency_p50": (_("Scoring time, median"), _("Half of the applications had their score within so many seconds.")),
    "latency_p95": (_("Scoring time, 95%"), _("19 of 20 applications had their score within so many seconds.")),
    "throughput": (_("Scores a day"), _("How many scores were stored on a day of this window, on average.")),
    "failures": (_("Jobs given to a person"), _("Applications that could not be scored in five attempts.")),
    "retries": (_("Jobs tried again"), _("The share of applications whose first attempt at a score failed.")),
    "pending_age": (_("Oldest job waiting"), _("For how long the oldest unscored application had been waiting, in seconds.")),
}
"""name → (what the figure is called, the sentence)."""
