"""The report on a model and a text: one HTML file that asks nothing of the network."""

from unrolled.inspect.report.make import MOST as MOST
from unrolled.inspect.report.make import PARTS as PARTS
from unrolled.inspect.report.make import report as report
from unrolled.inspect.report.report import Report as Report
from unrolled.inspect.report.report import prepare as prepare
from unrolled.inspect.report.section import Drawing as Drawing
from unrolled.inspect.report.section import Picture as Picture
from unrolled.inspect.report.section import Section as Section
from unrolled.inspect.report.section import Table as Table
from unrolled.inspect.report.text_view import RankedUnit as RankedUnit
from unrolled.inspect.report.text_view import StateView as StateView
from unrolled.inspect.report.text_view import TextView as TextView
