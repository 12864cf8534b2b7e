"""Default risk: how likely an application is to default within the outcome window, and why."""
