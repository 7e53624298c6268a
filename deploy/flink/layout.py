"""What a Flink cluster on one machine is made of: commands, addresses, ports.

Linux answers on all of 127.0.0.0/8, so each TaskManager has an address of its own, as if it were on
a machine of its own. A pipeline names one worker pool for all of them; each TaskManager's Java
resolves that name to its own address, since two must never share a pool: they call their workers by
the same ids, and each would end the other's.
"""

import dataclasses
import socket
import sys
from pathlib import Path

from downloads import Jars

HERE = Path(__file__).parent
JOBMANAGER, JOB_SERVER = "jobmanager", "job-server"
TASKMANAGERS = ("taskmanager-1", "taskmanager-2")
_POOL = "beam-worker-pool"
_MASTER = "127.0.0.1"
_OPENED = [
    *("lang", "util", "net", "io", "nio", "time"),
    *("util.concurrent", "util.concurrent.atomic", "util.concurrent.locks"),
]
_FLINK = "org.apache.flink.runtime"


@dataclasses.dataclass(frozen=True)
class Layout:
    """A cluster's folder and ports.

    Attributes:
        folder: its logs and what it writes while it runs.
        port: the first of six: web page, JobManager, jobs, artifacts, expansion, worker pools.
    """

    folder: Path
    port: int

    @property
    def web(self) -> str:
        """Flink's web page, and its REST interface."""
        return f"http://{_MASTER}:{self.port}"

    @property
    def job_endpoint(self) -> str:
        """Where Beam submits jobs."""
        return f"localhost:{self.port + 2}"

    @property
    def options(self) -> list[str]:
        """What a job takes after ``--``."""
        return [
            "--runner=PortableRunner",
            f"--flink_master={_MASTER}:{self.port}",
            f"--job_endpoint={self.job_endpoint}",
            "--environment_type=EXTERNAL",
            f"--environment_config={_POOL}:{self.port + 5}",
            f"--parallelism={len(TASKMANAGERS)}",
            "--environment_cache_millis=10000",
        ]

    def addresses(self) -> dict[str, list[tuple[str, int]]]:
        """Process -> where it listens, as far as the port is fixed."""
        listening = {JOBMANAGER: [(_MASTER, self.port + number) for number in (0, 1)]}
        for name in TASKMANAGERS:
            listening[name] = []
            listening[pool_of(name)] = [(host_of(name), self.port + 5)]
        listening[JOB_SERVER] = [(_MASTER, self.port + number) for number in (2, 3, 4)]
        return listening

    def commands(self, java: str, jars: Jars) -> dict[str, list[str]]:
        """Process -> its command, in the order to start them.

        Args:
            java: the program.
            jars: for the class paths.
        """
        (self.folder / "tmp").mkdir(parents=True, exist_ok=True)
        commands = {JOBMANAGER: self._jobmanager(java, jars)}
        for name in TASKMANAGERS:
            pool = f"{host_of(name)}:{self.port + 5}"
            commands[pool_of(name)] = [sys.executable, str(HERE / "worker_pool.py"), pool]
            commands[name] = self._taskmanager(java, jars, name)
        commands[JOB_SERVER] = self._job_server(java, jars)
        return commands

    def _java(self, java: str, name: str, heap: str) -> list[str]:
        return [
            java,
            f"-Xmx{heap}",
            "-XX:+UseSerialGC",
            f"-Djava.io.tmpdir={self.folder / 'tmp'}",
            f"-Dlog4j.configurationFile={HERE / 'log4j.properties'}",
            "-Dorg.slf4j.simpleLogger.showDateTime=true",
            "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
            f"-Dlog.file={self.folder / 'logs' / name}.log",
            *(f"--add-opens=java.base/java.{one}=ALL-UNNAMED" for one in _OPENED),
        ]

    def _flink(self, main: str, **settings: object) -> list[str]:
        settings = {
            "rest.port": self.port,
            "jobmanager.rpc.port": self.port + 1,
            "io.tmp.dirs": self.folder / "tmp",
            **settings,
        }
        given = [word for name, value in settings.items() for word in ("-D", f"{name}={value}")]
        return [f"{_FLINK}.{main}", "--configDir", str(HERE), *given]

    def _jobmanager(self, java: str, jars: Jars) -> list[str]:
        main = "entrypoint.StandaloneSessionClusterEntrypoint"
        return [
            *self._java(java, JOBMANAGER, "512m"),
            *("-cp", _joined(jars.flink, jars.beam)),
            *self._flink(main),
        ]

    def _taskmanager(self, java: str, jars: Jars, name: str) -> list[str]:
        host = host_of(name)
        # Java resolves by this file alone, so it holds every name there is.
        hosts = self.folder / f"{name}.hosts"
        hosts.write_text(f"{_MASTER} localhost {socket.gethostname()}\n{host} {_POOL}\n")
        where = {"taskmanager.host": host, "taskmanager.bind-host": host}
        return [
            *self._java(java, name, "640m"),
            "-XX:MaxDirectMemorySize=256m",
            f"-Djdk.net.hosts.file={hosts}",
            *("-cp", _joined(jars.flink, jars.beam)),
            *self._flink("taskexecutor.TaskManagerRunner", **where),
        ]

    def _job_server(self, java: str, jars: Jars) -> list[str]:
        main = "org.apache.beam.runners.flink.FlinkJobServerDriver"
        return [
            *self._java(java, JOB_SERVER, "512m"),
            *("-cp", _joined(jars.client, jars.beam), main),
            f"--flink-master={_MASTER}:{self.port}",
            f"--flink-conf-dir={HERE}",
            f"--job-host={_MASTER}",
            f"--job-port={self.port + 2}",
            f"--artifact-port={self.port + 3}",
            f"--expansion-port={self.port + 4}",
            f"--artifacts-dir={self.folder / 'tmp' / 'artifacts'}",
        ]


def _joined(*folders: Path) -> str:
    return ":".join(f"{folder}/*" for folder in folders)


def host_of(taskmanager: str) -> str:
    """Address of a TaskManager."""
    return f"127.0.0.{TASKMANAGERS.index(taskmanager) + 2}"


def pool_of(taskmanager: str) -> str:
    """Name of the process that starts its Python workers."""
    return f"{taskmanager}-workers"
