"""How an English desk writes numbers and days: Django asks here first (FORMAT_MODULE_PATH)."""
