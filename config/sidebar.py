"""How the admin looks, and what stands in its sidebar for whom; `settings` takes it in as UNFOLD."""

from __future__ import annotations

from django.urls import reverse_lazy

UNFOLD = {
    "SITE_TITLE": "Loandesk",
    "SITE_HEADER": "Loandesk",
    "SITE_SUBHEADER": "Underwriting desk",
    "SITE_SYMBOL": "balance",
    "SITE_URL": None,
    "SHOW_HISTORY": True,
    "SHOW_VIEW_ON_SITE": False,
    "ACCOUNT": {"navigation": [{"title": "Second factor", "link": reverse_lazy("second_factor")}]},
    "ENVIRONMENT": "loans.admin.site.environment",
    "DASHBOARD_CALLBACK": "loans.admin.home.dashboard",
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": "loans.admin.site.favicon"}],
    "STYLES": ["loans.admin.site.style"],
    "SCRIPTS": ["loans.admin.site.script"],
    "COLORS": {
        "primary": {
            "50": "oklch(97.0% .014 254.6)",
            "100": "oklch(93.2% .032 255.6)",
            "200": "oklch(88.2% .059 254.1)",
            "300": "oklch(80.9% .105 251.8)",
            "400": "oklch(70.7% .165 254.6)",
            "500": "oklch(62.3% .214 259.8)",
            "600": "oklch(54.6% .245 262.9)",
            "700": "oklch(48.8% .243 264.4)",
            "800": "oklch(42.4% .199 265.6)",
            "900": "oklch(37.9% .146 265.5)",
            "950": "oklch(28.2% .091 267.9)",
        }
    },
    "SIDEBAR": {
        "show_search": True,
        "show_all_applications": False,
        "navigation": [
            {
                "title": "Desk",
                "items": [
                    {"title": "Home", "icon": "dashboard", "link": reverse_lazy("admin:index")},
                    {
                        "title": "Inbox",
                        "icon": "inbox",
                        "link": reverse_lazy("admin:loans_loanapplication_changelist"),
                        "permission": "loans.admin.site.may_view_applications",
                    },
                    {
                        "title": "Decisions",
                        "icon": "gavel",
                        "link": reverse_lazy("admin:loans_decision_changelist"),
                        "permission": "loans.admin.site.may_view_decisions",
                    },
                    {
                        "title": "Notices",
                        "icon": "mail",
                        "link": reverse_lazy("admin:loans_adverseactionnotice_changelist"),
                        "permission": "loans.admin.site.may_view_notices",
                    },
                    {
                        "title": "Fraud flags",
                        "icon": "flag",
                        "link": reverse_lazy("admin:loans_fraudflag_changelist"),
                        "permission": "loans.admin.site.may_view_fraud_flags",
                    },
                    {
                        "title": "Demand",
                        "icon": "trending_up",
                        "link": reverse_lazy("admin:loans_demandforecast_changelist"),
                        "permission": "loans.admin.site.may_view_forecasts",
                    },
                    {
                        "title": "Bulk jobs",
                        "icon": "stacks",
                        "link": reverse_lazy("admin:loans_bulkrun_changelist"),
                        "permission": "loans.admin.site.may_view_bulk_jobs",
                    },
                    {
                        "title": "Imports",
                        "icon": "upload_file",
                        "link": reverse_lazy("admin:loans_importbatch_changelist"),
                        "permission": "loans.admin.site.may_view_imports",
                    },
                ],
            },
            {
                "title": "Models",
                "items": [
                    {
                        "title": "Model versions",
                        "icon": "model_training",
                        "link": reverse_lazy("admin:loans_modelversion_changelist"),
                        "permission": "loans.admin.site.may_view_models",
                    },
                    {
                        "title": "Comparisons",
                        "icon": "compare_arrows",
                        "link": reverse_lazy("admin:loans_modelcomparison_changelist"),
                        "permission": "loans.admin.site.may_view_comparisons",
                    },
                    {
                        "title": "Promotion checks",
                        "icon": "fact_check",
                        "link": reverse_lazy("admin:loans_promotioncheck_changelist"),
                        "permission": "loans.admin.site.may_view_promotion_checks",
                    },
                    {
                        "title": "Monitoring",
                        "icon": "monitoring",
                        "link": reverse_lazy("admin:loans_monitoringwindow_changelist"),
                        "permission": "loans.admin.site.may_view_monitoring",
                    },
                    {
                        "title": "Alerts",
                        "icon": "notifications",
                        "link": reverse_lazy("admin:loans_alert_changelist"),
                        "permission": "loans.admin.site.may_view_alerts",
                    },
                    {
                        "title": "Training runs",
                        "icon": "fitness_center",
                        "link": reverse_lazy("admin:loans_trainingrun_changelist"),
                        "permission": "loans.admin.site.may_view_trainings",
                    },
                    {
                        "title": "Table edits",
                        "icon": "edit_note",
                        "link": reverse_lazy("admin:loans_tableedit_changelist"),
                        "permission": "loans.admin.site.may_view_table_edits",
                    },
                    {
                        "title": "Attributes",
                        "icon": "category",
                        "link": reverse_lazy("admin:loans_attributedefinition_changelist"),
                        "permission": "loans.admin.site.may_view_attributes",
                    },
                ],
            },
            {
                "title": "Rules",
                "items": [
                    {
                        "title": "Policies",
                        "icon": "rule",
                        "link": reverse_lazy("admin:loans_policy_changelist"),
                        "permission": "loans.admin.site.may_view_policies",
                    },
                    {
                        "title": "Promotion policies",
                        "icon": "verified",
                        "link": reverse_lazy("admin:loans_promotionpolicy_changelist"),
                        "permission": "loans.admin.site.may_view_promotion_policies",
                    },
                    {
                        "title": "Alert rules",
                        "icon": "notification_important",
                        "link": reverse_lazy("admin:loans_alertrule_changelist"),
                        "permission": "loans.admin.site.may_view_alert_rules",
                    },
                    {
                        "title": "Knock-out rules",
                        "icon": "block",
                        "link": reverse_lazy("admin:loans_knockoutrule_changelist"),
                        "permission": "loans.admin.site.may_view_policies",
                    },
                    {
                        "title": "Fraud rules",
                        "icon": "policy",
                        "link": reverse_lazy("admin:loans_fraudrule_changelist"),
                        "permission": "loans.admin.site.may_view_fraud_rules",
                    },
                ],
            },
            {
                "title": "Administration",
                "items": [
                    {
                        "title": "Products",
                        "icon": "sell",
                        "link": reverse_lazy("admin:loans_loanproduct_changelist"),
                        "permission": "loans.admin.site.may_change_products",
                    },
                    {
                        "title": "Branches",
                        "icon": "store",
                        "link": reverse_lazy("admin:loans_branch_changelist"),
                        "permission": "loans.admin.site.may_view_branches",
                    },
                    {
                        "title": "API keys",
                        "icon": "key",
                        "link": reverse_lazy("admin:loans_apikey_changelist"),
                        "permission": "loans.admin.site.may_view_keys",
                    },
                    {
                        "title": "Webhooks",
                        "icon": "webhook",
                        "link": reverse_lazy("admin:loans_webhookendpoint_changelist"),
                        "permission": "loans.admin.site.may_view_webhooks",
                    },
                    {
                        "title": "Deliveries",
                        "icon": "outbox",
                        "link": reverse_lazy("admin:loans_webhookdelivery_changelist"),
                        "permission": "loans.admin.site.may_view_deliveries",
                    },
                    {
                        "title": "Audit trail",
                        "icon": "history",
                        "link": reverse_lazy("admin:loans_auditevent_changelist"),
                        "permission": "loans.admin.site.may_view_audit",
                    },
                    {
                        "title": "Users",
                        "icon": "person",
                        "link": reverse_lazy("admin:auth_user_changelist"),
                        "permission": "loans.admin.site.may_view_users",
                    },
                    {
                        "title": "Groups",
                        "icon": "group",
                        "link": reverse_lazy("admin:auth_group_changelist"),
                        "permission": "loans.admin.site.may_view_groups",
                    },
                ],
            },
        ],
    },
}
