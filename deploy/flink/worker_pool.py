"""Start Beam's Python workers for one Flink TaskManager, at one address of this machine.

Beam's own `worker_pool_main` listens at all addresses, so there can be one a machine; and it starts
`python` from PATH, where a Python without Beam dies unseen and the job waits for ever.
"""

import os
import signal
import sys
from pathlib import Path

import grpc
from apache_beam.portability.api import beam_fn_api_pb2_grpc
from apache_beam.runners.worker.worker_pool_main import BeamFnExternalWorkerPoolServicer
from apache_beam.utils import thread_pool_executor


def main(address: str) -> None:
    """Serve at HOST:PORT until SIGTERM, and take the workers along."""
    cores = len(os.sched_getaffinity(0))
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, cores // 2)))  # there are two of us
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    # Without so_reuseport a second pool at the address is an error, not a silent rival.
    options = [("grpc.so_reuseport", 0), ("grpc.http2.max_ping_strikes", 0)]
    server = grpc.server(thread_pool_executor.shared_unbounded_instance(), options=options)
    pool = BeamFnExternalWorkerPoolServicer(use_process=True)
    beam_fn_api_pb2_grpc.add_BeamFnExternalWorkerPoolServicer_to_server(pool, server)
    server.add_insecure_port(address)
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        signal.pause()
    finally:
        for worker in pool._worker_processes.values():
            worker.terminate()
        os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
