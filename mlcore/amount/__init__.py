"""The amount that an applicant can carry: what the like of them did carry, as a range, and never more than their income affords."""
