"""Models: tokenizer, packing, training, scoring, embedding."""

import os

# Asks MKL, before its first product, for sums whose last bits do not depend on where in memory a row lies.
# Else attention on two threads gives the upper and the lower half of a batch different ones.
os.environ.setdefault("MKL_CBWR", "AUTO")
