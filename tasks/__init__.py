"""The stages of a run: Prefect tasks, one file a stage. What they draw on is the library, gainloop."""

import logging

from schemas.masking import mask_logs

mask_logs()

# What the stages say belongs to a run's log; the root logger's WARNING would silence it.
logging.getLogger("gainloop").setLevel(logging.INFO)
