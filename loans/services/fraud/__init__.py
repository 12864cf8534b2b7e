"""Fraud on the desk: link what comes in, assess it with its score, flag it, and keep what investigators make of the flags.

`assess_quietly` and `link_quietly` are what scoring calls: they never raise, and what they can't do the sweeper does later (`sweep`).
"""

from loans.services.fraud.assessment import assess_quietly, link_quietly, sweep

__all__ = ["assess_quietly", "link_quietly", "sweep"]
