"""The learner: the model, the personal reward model, policy optimisation, the gate and the background worker."""

import logging
import os

# Chat and learner run side by side, often on two cores. OpenMP's threads by default spin for milliseconds while they
# wait for one another; with more threads than free cores that made one decoding step take seconds instead of 0.2 s. Not
# to spin at all halves the speed of whoever is alone. So: some microseconds, and the learner at the lowest priority
# (docs/log.md has the measurements). Set before torch is imported for the first time; the second is GNU OpenMP's alone.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "10000")
# bitsandbytes warns, at every import on a CPU, that the package `kernels` is not there. It is left out on purpose:
# importing it asks the model hub.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
