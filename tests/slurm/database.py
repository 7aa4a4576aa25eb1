"""SLURM's accounting for a test's cluster: MariaDB and slurmdbd of its own, on loopback, ended with their maker by PID."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from pathlib import Path

from tests.ports import free_ports
from tests.slurm.cluster import PATIENCE_S, Cluster

PROGRAMS = ("/usr/sbin/slurmdbd", "/usr/sbin/mariadbd", "mariadb-install-db", "mariadb", "sacctmgr")
_DATABASE = ("--skip-log-bin", "--performance-schema=OFF", "--innodb-buffer-pool-size=32M", "--innodb-log-file-size=8M", "--innodb-flush-log-at-trx-commit=0")
_SQL = "CREATE DATABASE slurm_acct; CREATE USER 'slurm'@'127.0.0.1' IDENTIFIED BY 'test'; GRANT ALL ON slurm_acct.* TO 'slurm'@'127.0.0.1';"
_DBD = """\
AuthType=auth/munge
AuthInfo=socket={munge}
DbdHost=localhost
DbdAddr=127.0.0.1
DbdPort={dbd}
SlurmUser=root
StorageType=accounting_storage/mysql
StorageHost=127.0.0.1
StoragePort={sql}
StorageUser=slurm
StoragePass=test
StorageLoc=slurm_acct
LogFile={folder}/slurmdbd.log
PidFile={folder}/slurmdbd.pid
CommitDelay=1
"""
_CLIENT = """\
AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost=127.0.0.1
AccountingStoragePort={dbd}
AccountingStoragePass={munge}
"""


def programs() -> bool:
    """Tell whether this machine can keep accounts; MariaDB in the form used here runs as root."""
    return os.geteuid() == 0 and all(shutil.which(program) for program in PROGRAMS) and any(Path("/usr/lib").glob("*/slurm-wlm/accounting_storage_mysql.so"))


class Accounts:
    """Give `accounts.prepare` to a Cluster; close after it."""

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []

    def prepare(self, cluster: Cluster) -> str:
        """Start database and slurmdbd in the cluster's folder, name the cluster there, and return the lines of slurm.conf."""
        folder, munge = cluster.folder / "db", cluster.folder / "munge" / "s"
        (folder / "tmp").mkdir(parents=True)
        sql = free_ports(2)
        names = {"folder": folder, "munge": munge, "sql": sql, "dbd": sql + 1}
        data = (f"--datadir={folder}/data", "--user=root")
        made = ("mariadb-install-db", "--no-defaults", *data, "--auth-root-authentication-method=normal", "--skip-test-db", *_DATABASE[3:])
        subprocess.run(made, check=True, capture_output=True)
        socket_ = f"--socket={folder}/sql"
        self._spawn(
            folder, "mariadbd", "/usr/sbin/mariadbd", "--no-defaults", *data, socket_, f"--tmpdir={folder}/tmp", "--bind-address=127.0.0.1", f"--port={sql}",
            f"--pid-file={folder}/sql.pid", "--skip-name-resolve", "--max-connections=20", *_DATABASE,
        )  # fmt: skip
        self._wait(folder, "mariadbd", sql)
        subprocess.run(("mariadb", "--no-defaults", socket_, "-u", "root", "-e", _SQL), check=True, capture_output=True)
        conf = folder / "slurmdbd.conf"
        conf.write_text(_DBD.format(**names))
        conf.chmod(0o600)
        client = _CLIENT.format(**names)
        (folder / "slurm.conf").write_text(f"ClusterName=village\nSlurmctldHost=localhost\nSlurmUser=root\nAuthInfo=socket={munge}\n{client}")
        env = cluster.env | {"SLURM_CONF": str(folder / "slurm.conf")}
        self._spawn(folder, "slurmdbd", "/usr/sbin/slurmdbd", "-D", env=env)
        self._wait(folder, "slurmdbd", sql + 1)
        subprocess.run(("sacctmgr", "--immediate", "add", "cluster", "village"), env=env, check=True, capture_output=True)
        return client

    def _spawn(self, folder: Path, name: str, *command: str, env: dict[str, str] | None = None) -> None:
        with (folder / f"{name}.out").open("ab") as out:
            self._running.append(subprocess.Popen(command, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True))

    def _wait(self, folder: Path, name: str, port: int) -> None:
        end = time.monotonic() + PATIENCE_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 60).close()
                return
            except OSError:
                if self._running[-1].poll() is not None or time.monotonic() > end:
                    raise AssertionError(f"nobody answers at port {port}\n{(folder / f'{name}.out').read_text()[-3000:]}") from None
                time.sleep(0.05)

    def close(self) -> None:
        """End slurmdbd, then the database."""
        for process in reversed(self._running):
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
