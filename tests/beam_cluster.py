"""A job service and worker pools of Beam's own, in processes of their own."""

import contextlib
import os
import socket
import subprocess
import sys
import time


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


@contextlib.contextmanager
def serving(module, port, *arguments, **more):
    """`python -m MODULE ARGUMENTS`, from when it answers on its port until the end of the block."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **more}
    command = [sys.executable, "-m", module, *map(str, arguments)]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    # Not in the checkout: workers find the project as it is installed, or on PYTHONPATH.
    with subprocess.Popen(command, env=environment, cwd="/", **silent) as process:
        try:
            deadline = time.monotonic() + 60
            while True:
                assert process.poll() is None, f"{module} has ended"
                assert time.monotonic() < deadline, f"{module} does not answer"
                with contextlib.suppress(OSError):
                    socket.create_connection(("127.0.0.1", port), 1).close()
                    break
                time.sleep(0.1)
            yield port
        finally:
            process.terminate()


def job_service():
    port = free_port()
    module = "apache_beam.runners.portability.local_job_service_main"
    return serving(module, port, "--port", port)


def worker_pool(**environment):
    port = free_port()
    module = "apache_beam.runners.worker.worker_pool_main"
    return serving(module, port, "--service_port", port, **environment)
