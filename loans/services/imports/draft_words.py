"""What columns of loan files are called, and what that suggests. Suggestions only: a person reads the draft before it is used."""

from __future__ import annotations

import re


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


FIELD_NAMES: dict[str, tuple[str, ...]] = {
    "external_reference": _words(
        "application_id app_id loan_id loan_number loan_nr loan_no id reference application_number application_no "
        "case_id contract_id account_id loan_nr_chk_dgt external_reference uuid"
    ),
    "submitted_at": _words(
        "submitted_at application_date app_date applied_at applied_on date_applied submission_date request_date issue_d "
        "issue_date issued_at approval_date origination_date orig_date created_at created loan_date start_date date "
        "open_date booking_date"
    ),
    "product": _words("product product_code product_type loan_type product_name loan_product"),
    "channel": _words("channel sales_channel application_channel origination_channel source"),
    "amount": _words(
        "amount amount_requested requested_amount loan_amnt loan_amount loan_amt credit_amount amount_applied principal "
        "loan_principal gr_appv loan_size amt orig_upb applied_amount limit_bal"
    ),
    "term_months": _words(
        "term_months term loan_term duration months term_in_months duration_months loan_term_months tenor tenure repayment_period"
    ),
    "purpose": _words("purpose loan_purpose purpose_code reason use_of_funds"),
    "purpose_text": _words("purpose_text desc description loan_description comment applicant_statement"),
    "annual_income": _words(
        "annual_income annual_inc income yearly_income gross_income gross_annual_income salary total_income amt_income_total"
    ),
    "debt_to_income": _words("debt_to_income dti debt_ratio debt_to_income_ratio dti_ratio"),
    "employment_status": _words("employment_status employment emp_status job_status employment_type occupation_status"),
    "employment_months": _words(
        "employment_months emp_length employment_length years_employed employed_since time_employed employment_years "
        "job_tenure months_employed person_emp_length"
    ),
    "home_ownership": _words(
        "home_ownership housing residence_status home_owner residential_status housing_status homeownership person_home_ownership"
    ),
    "region": _words("region state addr_state province county borrower_state state_code land"),
    "credit_score": _words("credit_score fico fico_score fico_range_low score bureau_score credit_rating_score"),
    "credit_history_months": _words(
        "credit_history_months earliest_cr_line earliest_credit_line credit_history credit_history_length "
        "length_of_credit_history cb_person_cred_hist_length credit_age"
    ),
    "open_accounts": _words("open_accounts open_acc number_open_accounts num_open_accounts open_credit_lines"),
    "total_accounts": _words("total_accounts total_acc num_accounts number_of_accounts total_credit_lines"),
    "delinquencies_24m": _words("delinquencies_24m delinq_2yrs delinquencies delinquencies_2_years num_delinquencies"),
    "months_since_delinquency": _words(
        "months_since_delinquency mths_since_last_delinq months_since_last_delinquent months_since_last_delinquency"
    ),
    "public_records": _words("public_records pub_rec number_public_records derogatory_records"),
    "inquiries_6m": _words("inquiries_6m inq_last_6mths inquiries_last_6_months inquiries num_inquiries credit_inquiries"),
    "revolving_balance": _words("revolving_balance revol_bal revolving_credit_balance credit_card_balance"),
    "revolving_utilisation": _words(
        "revolving_utilisation revolving_utilization revol_util utilization utilisation credit_utilization "
        "revolving_utilization_of_unsecured_lines"
    ),
}
APPLICANT_NAMES: dict[str, tuple[str, ...]] = {
    "name": _words("name full_name applicant_name borrower_name customer_name client_name borrower company_name business_name"),
    "email": _words("email e_mail email_address mail"),
    "phone": _words("phone phone_number telephone mobile mobile_number tel"),
    "birth_date": _words("birth_date date_of_birth dob birthday birthdate born"),
    "national_id": _words("national_id ssn social_security_number tax_id tin passport_number nino id_number identity_number"),
    "bank_account": _words("bank_account iban account_number bank_account_number"),
    "address": _words("address street street_address home_address residence_address"),
    "employer": _words("employer emp_title employer_name company"),
}

OUTCOME_NAMES = _words(
    "loan_status mis_status outcome status repayment_status final_status default defaulted is_default default_flag "
    "default_payment_next_month bad bad_loan is_bad good_bad target label charged_off chargeoff not_fully_paid loan_condition "
    "serious_dlqin2yrs class credit_risk"
)
DEFAULT_WORDS = (
    "charged off",
    "charge off",
    "chargeoff",
    "chgoff",
    "default",
    "bad",
    "written off",
    "write off",
    "loss",
    "bankrupt",
    "foreclos",
)
REPAID_WORDS = ("fully paid", "paid in full", "p i f", "pif", "repaid", "good", "paid", "closed", "settled in full", "prepaid", "matured")
YES_IS_DEFAULT = ("default", "bad", "charge", "not_fully_paid", "dlq", "target", "delinq")

PROTECTED = re.compile(
    r"(^|_)(age|sex|gender|race|ethnic\w*|ethnicity|marital\w*|married|religion\w*|nationality|citizen\w*|disab\w*|pregnan\w*|"
    r"foreign_worker|veteran|national_origin|colou?r|personal_status\w*|dependents?|children|cnt_children)(_|$)"
)
PERSONAL = re.compile(
    r"(^|_)(first_name|last_name|surname|forename|middle_name|initials|ip|ip_address|signature|login|username|user_name|passport)(_|$)"
)
LATER = re.compile(
    r"(^|_)(total_pymnt\w*|total_rec\w*|paid|payments?_(made|received|to_date)|total_pa(id|yments?)|recover\w*|recoveries|collection_recovery_fee|"
    r"charge_?off\w*|chg_?off\w*|writ\w+_?off\w*|settle\w*|hardship\w*|out_prncp\w*|outstanding\w*|balance_gross|remaining\w*|last_pymnt\w*|"
    r"last_pay\w*|next_pymnt\w*|next_pay\w*|last_credit_pull\w*|pymnt_plan|funded\w*|disburs\w*|closed?_(date|on|at)|dpd|days_past_due|"
    r"past_due|arrears|late_fee\w*|payoff\w*|prepay\w*|default_date|maturity_date|decision\w*|approved\w*|rejected\w*|denial\w*|loss|lgd)(_|$)"
)
VERDICT = re.compile(
    r"(^|_)(int_rate|interest_rate|interest|apr|rate|grade|sub_?grade|risk_(class|band|grade|rating|level)|installment|instalment|emi|"
    r"monthly_payment|verification_status|underwriter\w*|list_status|initial_list_status|rating)(_|$)"
)
PLACE = re.compile(
    r"(^|_)(zip|zip_?code|postcode|postal_?code|post_code|city|town|neighbou?rhood|census_tract|latitude|longitude|lat|lon)(_|$)"
)

HOME = {
    "rent": ("rent", "rented", "renter", "renting", "tenant", "lease"),
    "own": ("own", "owner", "owned", "owns", "home owner", "for free", "outright"),
    "mortgage": ("mortgage", "mortgaged", "mortgage holder", "home mortgage", "havemortgage"),
    "other": ("other", "none", "any", "living with parents", "parents", "family", "free"),
}
EMPLOYMENT = {
    "employed": (
        "employed",
        "full time",
        "full-time",
        "part time",
        "part-time",
        "permanent",
        "salaried",
        "working",
        "employee",
        "contract",
    ),
    "self_employed": ("self employed", "self-employed", "selfemployed", "business owner", "entrepreneur", "freelance"),
    "unemployed": ("unemployed", "not employed", "jobless", "none"),
    "retired": ("retired", "pensioner"),
    "student": ("student",),
    "other": ("other", "homemaker", "not available", "military"),
}
CHANNEL = {
    "branch": ("branch", "in branch", "store"),
    "online": ("online", "web", "website", "internet", "app", "mobile"),
    "phone": ("phone", "telephone", "call centre", "call center"),
    "broker": ("broker",),
    "partner": ("partner", "dealer", "agent"),
    "other": ("other",),
}
CHOICE_WORDS = {"home_ownership": HOME, "employment_status": EMPLOYMENT, "channel": CHANNEL}
ABSENT_WORDS = frozenset({"na", "n/a", "n.a.", "null", "none", "nan", "-", "--", ".", "?", "unknown", "#n/a", "not available", "missing"})


def plain_name(column: str) -> str:
    """AnnualIncome, "annual income", ANNUAL_INCOME → annual_income."""
    spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", column.strip())
    return re.sub(r"[^a-z0-9]+", "_", spaced.lower()).strip("_")
