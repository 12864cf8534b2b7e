"""The machine learning of Loandesk: arrays and frames in, results out. No Django, no Celery, no database."""
