"""Loan files into applications: `run_import` is the door, `load_mapping` reads what a lender's file means. docs/IMPORT.md is the manual."""

from loans.services.imports.batches import cancel_import, due_imports, fail_abandoned_imports
from loans.services.imports.mapping import available_mappings, load_mapping, parse_mapping
from loans.services.imports.problems import ImportProblem, RowProblem
from loans.services.imports.rules import Mapping, MappingProblem
from loans.services.imports.stored import forget_old_uploads

__all__ = [
    "ImportProblem",
    "Mapping",
    "MappingProblem",
    "RowProblem",
    "available_mappings",
    "cancel_import",
    "due_imports",
    "fail_abandoned_imports",
    "forget_old_uploads",
    "load_mapping",
    "parse_mapping",
    "run_import",
    "run_upload",
]


def __getattr__(name: str) -> object:
    # pyarrow takes half a second to import: only who imports a file pays for it, not every process that knows of imports
    if name == "run_import":
        from loans.services.imports.run import run_import

        return run_import
    if name == "run_upload":
        from loans.services.imports.uploads import run_upload

        return run_upload
    raise AttributeError(name)
