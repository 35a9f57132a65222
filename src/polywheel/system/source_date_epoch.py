"""SOURCE_DATE_EPOCH: the time of new files in wheels, so that equal builds give equal wheels.

https://reproducible-builds.org/docs/source-date-epoch/
"""

from __future__ import annotations

import os

from polywheel.errors import ConfigError

EARLIEST, LATEST = 315_532_800, 4_354_819_198
"""1980-01-01T00:00:00Z and 2107-12-31T23:59:58Z, in seconds since 1970: the first and the last time
that an entry of a zip archive can have."""
_VARIABLE = "SOURCE_DATE_EPOCH"
_MAX_SHOWN = 40
"""Characters of a wrong value that a message shows."""


def source_date_epoch() -> int | None:
    """Return the variable SOURCE_DATE_EPOCH in seconds since 1970, at least :data:`EARLIEST`.

    Returns None if it is not set or empty. Spaces around the digits are allowed. Times before 1980 become
    1980, as in other tools that write archives: 0 and 1 are in common use. Raises ConfigError for any
    other text, and for times after 2107, which are mostly milliseconds.
    """
    text = os.environ.get(_VARIABLE, "").strip()
    if not text:
        return None
    shown = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
    digits = text.lstrip("0") or "0"
    if not (text.isascii() and text.isdigit()):
        what = f"{_VARIABLE} is not a number of seconds: {shown!r}"
        hint = "expected the seconds since 1970, as digits"
    # Python converts at most 4300 digits.
    elif len(digits) > len(str(LATEST)) or int(digits) > LATEST:
        what = f"{_VARIABLE} is {shown}: a time after 2107, which a wheel can't store"
        hint = "expected seconds, not milliseconds"
    else:
        return max(int(digits), EARLIEST)
    raise ConfigError(what, at=f"environment variable {_VARIABLE}", hint=hint)
