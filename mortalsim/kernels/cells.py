"""Where each property of a device lies in the state of an array: ``cells`` is float32 (2, 6 or 8, n_in, n_out).

The first axis is the device of the pair (`PLUS` or `MINUS`), the second one of the fields below.
"""

from __future__ import annotations

from typing import Final

PLUS: Final = 0  #: the device that counts positively
MINUS: Final = 1  #: the device that counts negatively

G: Final = 0  #: conductance as last written [S]
UP: Final = 1  #: change by one potentiating pulse at mid range [S]; 0 together with DOWN means stuck
DOWN: Final = 2  #: change by one depressing pulse at mid range [S]
LOW: Final = 3  #: this device's smallest conductance [S]
HIGH: Final = 4  #: this device's largest conductance [S]
ERROR: Final = 5  #: frozen relative error of reading it
NU: Final = 6  #: drift exponent; 0 means no drift
WRITTEN: Final = 7  #: time of the last write [s]
FIELDS: Final = 8  #: how many fields there are; an array whose devices do not drift does without the last two
