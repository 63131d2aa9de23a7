"""What a data set's numbers are like: mean, spread, range and percentiles of each band, in one pass over the files.

`measure` reads and counts classes, `write_cards` makes sensor cards of what it found.
"""

from msgfm.data.statistics.bands import PERCENTILES, BandStatistics
from msgfm.data.statistics.cards import card_paths, card_text, measured_card, write_cards
from msgfm.data.statistics.classes import ClassCounts
from msgfm.data.statistics.measure import Measurement, SensorStatistics, measure
from msgfm.data.statistics.tables import class_tables, statistics_table, write_json

__all__ = [
    "PERCENTILES",
    "BandStatistics",
    "ClassCounts",
    "Measurement",
    "SensorStatistics",
    "card_paths",
    "card_text",
    "class_tables",
    "measure",
    "measured_card",
    "statistics_table",
    "write_cards",
    "write_json",
]
