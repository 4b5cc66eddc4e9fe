"""python -m experiments."""

import os
import signal
import sys


def _main() -> int:
    # If stdin, stdout or stderr is closed, the null device takes its number, which the next file
    # that is opened would get.
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)

    # During the imports Ctrl-C ends the process at once: C extensions that are loading may crash on
    # a KeyboardInterrupt.
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
