"""Maker is not checker, held where nobody gets around it; offers as a step of an application; notices that are kept; who may do which."""

from importlib import import_module

from django.contrib.auth.management import create_permissions
from django.db import migrations

STEPS = """
CREATE OR REPLACE FUNCTION loandesk_status_step() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF (OLD.status, NEW.status) NOT IN (
        ('received', 'open'), ('received', 'needs_review'), ('received', 'withdrawn'),
        ('needs_review', 'received'), ('needs_review', 'open'), ('needs_review', 'referred'), ('needs_review', 'offered'),
        ('needs_review', 'approved'), ('needs_review', 'declined'), ('needs_review', 'withdrawn'),
        ('open', 'referred'), ('open', 'offered'), ('open', 'approved'), ('open', 'declined'), ('open', 'withdrawn'),
        ('referred', 'offered'), ('referred', 'approved'), ('referred', 'declined'), ('referred', 'withdrawn'),
        ('offered', 'approved'), ('offered', 'declined'), ('offered', 'withdrawn')
    ) THEN
        RAISE EXCEPTION 'an application can not go from % to %', OLD.status, NEW.status USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
"""

# The row says whether it goes against the advice and which limit held; this looks at what the row rests on, so that neither can be left out.
SECOND_PERSON = """
CREATE FUNCTION loandesk_second_person() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    told text; own_limit numeric; asked numeric;
BEGIN
    IF NEW.accepts_id IS NOT NULL THEN
        PERFORM 1 FROM loans_decision offer
            WHERE offer.id = NEW.accepts_id AND offer.application_id = NEW.application_id AND offer.outcome = 'counter';
        IF NOT FOUND OR NEW.outcome <> 'approve' THEN
            RAISE EXCEPTION 'a decision can only accept an offer on the same application' USING ERRCODE = 'check_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF NEW.second_id IS NOT NULL OR NEW.outcome = 'refer' THEN
        RETURN NEW;
    END IF;
    IF NEW.outcome IN ('approve', 'counter') THEN
        SELECT approval_limit INTO own_limit FROM loans_officerprofile WHERE user_id = NEW.officer_id;
        SELECT amount INTO asked FROM loans_loanapplication WHERE id = NEW.application_id;
        IF coalesce(NEW.offered_amount, asked) > own_limit THEN
            RAISE EXCEPTION 'above the officer''s limit a second person has to confirm' USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    SELECT advice INTO told FROM loans_prediction WHERE id = NEW.prediction_id;
    IF (told, NEW.outcome) IN (('decline', 'approve'), ('decline', 'counter'), ('approve', 'decline')) AND NOT EXISTS (
        SELECT 1 FROM loans_decision offer WHERE offer.application_id = NEW.application_id AND offer.outcome = 'counter'
    ) THEN
        RAISE EXCEPTION 'against the advice a second person has to confirm' USING ERRCODE = 'check_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER decision_second_person BEFORE INSERT ON loans_decision FOR EACH ROW EXECUTE FUNCTION loandesk_second_person();

CREATE FUNCTION loandesk_proposal_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' OR OLD.state <> 'waiting' OR (NEW.application_id, NEW.outcome, NEW.maker_id, NEW.reason, NEW.note)
        IS DISTINCT FROM (OLD.application_id, OLD.outcome, OLD.maker_id, OLD.reason, OLD.note)
        OR (NEW.offered_amount, NEW.offered_term_months, NEW.offered_rate) IS DISTINCT FROM
           (OLD.offered_amount, OLD.offered_term_months, OLD.offered_rate) THEN
        RAISE EXCEPTION 'a proposal is answered once and never edited' USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER proposal_kept BEFORE UPDATE OR DELETE ON loans_decisionproposal FOR EACH ROW EXECUTE FUNCTION loandesk_proposal_kept();

CREATE FUNCTION loandesk_notice_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.sent_at IS NOT NULL THEN
            RAISE EXCEPTION 'a notice that was sent can not be changed' USING ERRCODE = 'restrict_violation';
        END IF;
        RETURN NEW;
    END IF;
    IF OLD.keep_until IS NULL OR OLD.keep_until >= current_date THEN
        RAISE EXCEPTION 'a notice is kept until %', coalesce(OLD.keep_until::text, 'it was sent and its time is over')
            USING ERRCODE = 'restrict_violation';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER notice_kept BEFORE UPDATE OR DELETE ON loans_adverseactionnotice FOR EACH ROW EXECUTE FUNCTION loandesk_notice_kept();
"""
UNDO = """
DROP FUNCTION loandesk_second_person CASCADE; DROP FUNCTION loandesk_proposal_kept CASCADE; DROP FUNCTION loandesk_notice_kept CASCADE;
"""

ROLES = {
    "Loan officers": ["view_decisionproposal", "view_adverseactionnotice", "send_adverseactionnotice"],
    "Senior officers": ["view_decisionproposal", "confirm_decision", "view_adverseactionnotice", "send_adverseactionnotice"],
    "Auditors": ["view_decisionproposal", "view_adverseactionnotice"],
}


def grant(apps, schema_editor):
    from django.apps import apps as installed

    create_permissions(installed.get_app_config("loans"), verbosity=0, using=schema_editor.connection.alias)
    groups, permissions = apps.get_model("auth", "Group"), apps.get_model("auth", "Permission")
    for name, codenames in ROLES.items():
        group, _ = groups.objects.get_or_create(name=name)
        group.permissions.add(*permissions.objects.filter(content_type__app_label="loans", codename__in=codenames))


def earlier_steps(apps, schema_editor):
    first = import_module("loans.migrations.0002_guards").TRANSITIONS
    schema_editor.execute(first.split("CREATE TRIGGER")[0].replace("CREATE FUNCTION", "CREATE OR REPLACE FUNCTION"))


def nothing(apps, schema_editor):
    pass


class Migration(migrations.Migration):
    dependencies = [("loans", "0021_two_people")]

    operations = [
        migrations.RunPython(nothing, earlier_steps),
        migrations.RunSQL(STEPS, migrations.RunSQL.noop),
        migrations.RunSQL(SECOND_PERSON, UNDO),
        migrations.RunPython(grant, migrations.RunPython.noop),
    ]
