"""The one error that means "the input is wrong", as against "the program is wrong"."""


class InputError(ValueError):
    """Something the user gave cannot be used.

    The message names the file, the band and the value where there are such, and says what to do. The command
    line prints it without a traceback and exits with code 2.
    """
