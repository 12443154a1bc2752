"""For the tests of the fabric: processes that find this folder, Hypothesis without deadlines."""

import sys
from pathlib import Path

from hypothesis import settings

sys.path.append(str(Path(__file__).parents[2]))  # the processes that tests start get this path

settings.register_profile("untimed", deadline=None)  # the machine may be busy
settings.load_profile("untimed")
