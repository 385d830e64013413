"""A module whose import takes longer than a test allows for init."""

import time

time.sleep(60)
