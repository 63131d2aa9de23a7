"""What a data set's numbers are like: mean, spread, range and percentiles of each band, in one pass over the files.

`measure` reads, `write_cards` makes sensor cards of what it found.
"""

from msgfm.data.statistics.bands import PERCENTILES, BandStatistics
from msgfm.data.statistics.cards import card_paths, card_text, measured_card, write_cards
from msgfm.data.statistics.measure import Measurement, SensorStatistics, measure
from msgfm.data.statistics.tables import statistics_table, write_json

__all__ = [
    "PERCENTILES",
    "BandStatistics",
    "Measurement",
    "SensorStatistics",
    "card_paths",
    "card_text",
    "measure",
    "measured_card",
    "statistics_table",
    "write_cards",
    "write_json",
]
