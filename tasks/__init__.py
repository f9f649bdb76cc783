"""The stages of a run. The modules of this folder are the Prefect tasks; the folders below are what they draw on."""

import logging
import os

# Threads that wait for each other sleep rather than spin. With another process on the same two cores a training
# step otherwise takes five times as long (measured: 150 against 1,000 tokens/s). Read once, when torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

# What the stages say belongs to a run's log; the root logger's WARNING would silence it.
logging.getLogger("gainloop").setLevel(logging.INFO)
