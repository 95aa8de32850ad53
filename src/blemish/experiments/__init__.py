"""What a detector is worth: evaluation on test photos, and the report."""

from blemish.experiments.evaluation import evaluate
from blemish.experiments.report import Case, EvaluationReport, write_report

__all__ = ["Case", "EvaluationReport", "evaluate", "write_report"]
