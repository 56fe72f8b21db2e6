"""The report of a run: every claim of the method, measured, drawn and judged on one page."""

from ellipsoid.report.report import load_report_inputs as load_report_inputs
from ellipsoid.report.report import write_report as write_report
from ellipsoid.report.sections import ReportInputs as ReportInputs
