"""python -m experiments."""

import os
import signal
import sys


def _main() -> int:
    # A stream that was closed leads nowhere, before a file is opened under its number.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)

    # Nothing has begun, and C code that is loading may crash on a KeyboardInterrupt.
    heed = signal.getsignal(signal.SIGINT)
    if heed is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda number, frame: os._exit(130))

    import matplotlib

    from experiments.harness.command_line import main

    matplotlib.use("Agg")
    signal.signal(signal.SIGINT, heed)
    status = main(sys.argv[1:])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the work is done
    return status


if __name__ == "__main__":
    sys.exit(_main())
