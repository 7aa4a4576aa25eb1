"""The batch scripts of a run: as they are written, and as that of the training runs with a scheduler that is not there."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from governance_hooks.canonical import digest
from governance_hooks.consent import Use
from governance_hooks.errors import BadInput
from governance_hooks.plan import Base, BuildRef, Code, EvaluationPolicy, Limits, Mix, Plan, Policies, TokenCounts, TokensRef
from governance_hooks.training import Training
from slurm.profile import Profile
from slurm.sbatch import KINDS, Layout, layout, render

GOLDEN = Path(__file__).with_name("golden")
COMMAND = ["coop", "-C", "/srv/our cooperative", "train", "voices"]
PREFLIGHT = ["python3", "-m", "slurm.preflight", "--folder", "/srv/our cooperative"]
JOB = Path("/srv/coop/jobs/voices/1")
SITE = Profile(
    partition="gpu", account="coop-17", qos="vote", gres="gpu:h100", devices_per_node=4, cpus_per_device=12, memory="0", exclusive=True, interface="ib0",
    modules=["cuda/12.8", "apptainer"], setup=["ulimit -l unlimited"], container=["apptainer", "exec", "--nv", "/images/commonweights.sif"],
)  # fmt: skip


def plan(devices: int = 16) -> Plan:
    use = Use(
        purpose="dpv:NonCommercialResearch",
        processing=["ai:ModelFineTuning", "coop:ModelEvaluation"],
        recipients=["coop:PublicViaReleasedWeights"],
        licence="Apache-2.0",
    )
    return Plan(
        coop=digest("coop"),
        name="voices",
        use=use,
        base=Base(name="village/tiny", licence="Apache-2.0", digest=digest([]), files=[]),
        build=BuildRef(manifest=digest("b"), root=digest("r"), records=1, languages={"spa": {"train": 1, "heldout": 0, "members": 1}}),
        code=Code(digest=digest("c"), packages={}),
        tokens=TokensRef(digest=digest("t"), languages={"spa": TokenCounts(rows=1, tokens=2, supervised=1, too_long=0)}),
        mix=Mix(),
        training=Training(strategy="fsdp2"),
        evaluation=EvaluationPolicy(),
        limits=Limits(max_devices=devices, max_minutes=90),
        policies=Policies(),
    )


def on_site(kind: str, array: int | None = None) -> str:
    shape = layout(plan(), 16, per_node=SITE.devices_per_node, cpus=SITE.cpus_per_device) if kind == "train" else Layout(1, 1, 12)
    command = [*SITE.container, "/env/bin/python", "-m", "commonweights.cli", kind, "--job", str(JOB)]
    preflight = [*SITE.container, "/env/bin/python", "-m", "slurm.preflight"] if kind == "train" else []
    return render(kind, "voices", shape, minutes=90, command=command, preflight=preflight, profile=SITE, folder=JOB, array=array)  # type: ignore[arg-type]


def scripts() -> dict[str, str]:
    without = render("train", "voices", layout(plan(), 16), minutes=90, command=COMMAND, preflight=PREFLIGHT)
    return {"plan": without, "chain": on_site("train", 3)} | {kind: on_site(kind) for kind in KINDS}


@pytest.mark.parametrize("name", ["plan", "train", "chain", "eval", "card"])
def test_each_script_is_the_one_kept_here(name: str) -> None:
    assert scripts()[name] == (GOLDEN / f"{name}.sbatch").read_text(encoding="utf-8")


def test_nodes_are_filled_equally_and_no_device_is_taken_that_was_not_voted() -> None:
    assert layout(plan(), 5) == Layout(1, 5, 8)
    assert layout(plan(), 16, per_node=4) == Layout(4, 4, 8)
    assert layout(plan(), 4, nodes=2) == Layout(2, 2, 8)
    with pytest.raises(BadInput, match="nodes of equal size"):
        layout(plan(), 9)
    with pytest.raises(BadInput, match="nodes of equal size"):
        layout(plan(), 16, per_node=4, nodes=2)
    with pytest.raises(BadInput, match="more devices than the plan allows"):
        layout(plan(4), 5)


def test_no_line_is_left_unfilled_and_every_option_stands_before_the_first_command() -> None:
    for name, text in scripts().items():
        assert "{{" not in text, name
        lines = text.splitlines()
        first = next(index for index, line in enumerate(lines) if line and not line.startswith("#"))
        assert not any(line.startswith("#SBATCH") for line in lines[first:]), name
        assert lines[0] == "#!/bin/bash -p", name


def test_a_folder_that_would_tear_an_option_line_is_refused() -> None:
    for folder in ("/srv/our coop/jobs", "/srv/%j", "/srv/a\nb", '/srv/"'):
        with pytest.raises(BadInput, match="folder of this name"):
            render("eval", "voices", Layout(1, 1), minutes=1, command=["true"], profile=SITE, folder=Path(folder))


@pytest.mark.shellcheck
@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.sbatch")), ids=lambda path: path.stem)
def test_shellcheck_has_nothing_to_say(path: Path) -> None:
    done = subprocess.run(["shellcheck", "--shell=bash", str(path)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.fixture
def cluster(tmp_path: Path) -> Path:
    """Stand-ins for srun, which runs two tasks one after the other, for scontrol, and for coop, which leaves with $STATUS."""
    programs = {
        "scontrol": 'case "$1 $2" in "show hostnames") echo node7; echo node8;; "show node") echo "NodeName=$3 NodeAddr=10.0.0.7 Port=1";; *) echo "$@" >>calls;; esac',
        "srun": 'for option in "$@"; do case "$option" in --*) shift;; *) break;; esac; done; for rank in 0 1; do RANK=$rank "$@" || exit $?; done',
        "python3": 'echo "$@" >>preflights; exit "${READY:-0}"',
        "scancel": 'echo scancel "$@" >>calls',
        "coop": 'echo "$MASTER_ADDR $MASTER_PORT $OMP_NUM_THREADS $RANK $#" >>tasks; [ "$STATUS" != USR1 ] || kill -USR1 $$; exit "$STATUS"',
    }
    for name, body in programs.items():
        path = tmp_path / "bin" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)
    return tmp_path


def run(cluster: Path, status: int | str, **more: str) -> int:
    environment = (
        os.environ
        | more
        | {
            "PATH": f"{cluster / 'bin'}:{os.environ['PATH']}",
            "SLURM_JOB_ID": "4021",
            "SLURM_JOB_NODELIST": "node[7-8]",
            "STATUS": str(status),
        }
    )
    # As SLURM starts a script: a signal that this process ignores, as one in which something was trained ignores SIGUSR1, is ignored in its children too.
    command = ["env", "--default-signal=USR1", str(GOLDEN / "plan.sbatch")]
    done = subprocess.run(command, cwd=cluster, env=environment, capture_output=True, text=True, check=False)
    print(done.stderr)  # shown by a test that fails
    return done.returncode


def test_every_task_finds_the_first_and_gets_its_arguments_whole(cluster: Path) -> None:
    assert run(cluster, 0) == 0
    assert (cluster / "tasks").read_text().splitlines() == ["10.0.0.7 24021 8 0 4", "10.0.0.7 24021 8 1 4"]
    assert not (cluster / "calls").exists()


def test_a_preempted_run_is_put_back_once_and_leaves_nothing_behind(cluster: Path) -> None:
    assert run(cluster, 75) == 0
    assert (cluster / "calls").read_text() == "requeue 4021\n"
    assert len((cluster / "tasks").read_text().splitlines()) == 2
    assert not list(cluster.glob("*.preempted"))


@pytest.mark.parametrize("before", [signal.SIG_DFL, signal.SIG_IGN])
def test_a_signal_before_the_training_listens_puts_the_run_back_too(cluster: Path, before: signal.Handlers) -> None:
    kept = signal.signal(signal.SIGUSR1, before)
    try:
        assert run(cluster, "USR1") == 0
    finally:
        signal.signal(signal.SIGUSR1, kept)
    assert (cluster / "calls").read_text() == "requeue 4021\n"


def test_the_signal_does_not_end_the_shell_around_a_task_that_saves(cluster: Path) -> None:
    (cluster / "bin" / "coop").write_text("#!/bin/bash\ntrap : USR1\nkill -USR1 $PPID\nsleep 0.1\nexit 75\n")
    assert run(cluster, 75) == 0
    assert (cluster / "calls").read_text() == "requeue 4021\n"


def test_nothing_is_trained_where_the_preflight_fails(cluster: Path) -> None:
    assert run(cluster, 0, READY="1") == 1
    assert (cluster / "preflights").is_file()
    assert not (cluster / "tasks").exists()
    assert not (cluster / "calls").exists()


@pytest.mark.parametrize(("status", "calls"), [(0, "scancel --state=PENDING 4020\n"), (1, "scancel --state=PENDING 4020\n"), (75, None)])
def test_in_a_chain_a_stopped_run_leaves_the_rest_to_go_on_and_a_finished_one_does_not(cluster: Path, status: int, calls: str | None) -> None:
    assert run(cluster, status, SLURM_ARRAY_JOB_ID="4020") == (0 if status == 75 else status)
    assert ((cluster / "calls").read_text() if calls else (cluster / "calls").exists() or None) == calls


@pytest.mark.parametrize("status", [1, 2, 137])
def test_a_failed_or_blocked_run_is_not_put_back(cluster: Path, status: int) -> None:
    assert run(cluster, status) == status
    assert not (cluster / "calls").exists()
