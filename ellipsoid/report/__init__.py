"""The report of a run: a page that measures, shows and assesses every claim of the method."""

from ellipsoid.report.copies import write_copy_page as write_copy_page
from ellipsoid.report.inputs import ReportInputs as ReportInputs
from ellipsoid.report.inputs import load_report_inputs as load_report_inputs
from ellipsoid.report.page import Section as Section
from ellipsoid.report.page import Walk as Walk
from ellipsoid.report.page import write_page as write_page
from ellipsoid.report.write import write_report as write_report
