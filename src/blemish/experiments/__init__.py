"""What detectors and generated defects are worth: evaluation, both papers' protocols, reports."""

from blemish.experiments.evaluation import evaluate
from blemish.experiments.report import Case, EvaluationReport, write_report

__all__ = ["Case", "EvaluationReport", "evaluate", "write_report"]
