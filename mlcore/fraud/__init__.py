"""Fraud: links between applications, rules, anomaly, supervised score, and the one score that an investigator sees.

Everything that is said of an application is computed from what was known strictly before it was submitted.
"""
