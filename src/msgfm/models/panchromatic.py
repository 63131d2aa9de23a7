"""Which of a model's inputs is the panchromatic image that sharpens another."""

from __future__ import annotations

from collections.abc import Mapping

from msgfm.errors import InputError
from msgfm.sensors import Sensor

_CENTRES_NM = (380.0, 780.0)


def find_panchromatic(cards: Mapping[str, Sensor], over: str) -> str | None:
    """The key of the one input that has a single band whose wavelength lies from 380 to 780 nm.

    Panchromatic bands are centred there, also those that reach far into the near infrared (IKONOS: 727 nm). Radar has
    no wavelength on its card but a polarisation, heights have metres.

    Args:
        cards: of the inputs, by key, with the bands that are used.
        over: key of the image that is sharpened, which is none of the candidates.

    Returns:
        None where no input is such an image.

    Raises:
        InputError: there are several, or none but one whose card does not say what it sees.
    """
    single = {key: card.bands[0] for key, card in cards.items() if key != over and len(card.bands) == 1}
    low, high = _CENTRES_NM
    found = [key for key, band in single.items() if band.wavelength_nm and low <= band.wavelength_nm <= high]
    if len(found) > 1:
        raise InputError(
            f"which input is the panchromatic image? {' and '.join(found)} all have one band in the visible; leave all "
            f"but one of them out of inputs"
        )
    untold = [key for key, b in single.items() if not (b.wavelength_nm or b.polarisation or b.unit == "m")]
    if not found and untold:
        raise InputError(
            f"is {untold[0]} a panchromatic image? Its card has neither wavelength_nm nor polarisation; give its band "
            f"one ({low:g} to {high:g} nm is taken as panchromatic)"
        )
    return found[0] if found else None
