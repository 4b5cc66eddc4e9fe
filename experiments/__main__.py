"""python -m experiments."""

import sys

import matplotlib

from experiments.harness.command_line import main

if __name__ == "__main__":
    matplotlib.use("Agg")
    sys.exit(main(sys.argv[1:]))
