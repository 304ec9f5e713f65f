import subprocess
import sys

import pytest

from mlx_ollama.ipc import child
from mlx_ollama.supervisor import memory
from mlx_ollama.supervisor.process import blas_environment, describe_exit


def test_a_child_finds_this_package_in_isolation():
    command = child.command("this", "argument", watches="socket")
    code = command[3].replace('runpy.run_module(module, run_name="__main__", alter_sys=True)', "")
    code += "\nimport mlx_ollama; print(module, sys.argv[1:], sys.flags.isolated)"
    done = subprocess.run(
        [*command[:3], code, *command[4:]], capture_output=True, text=True, cwd="/", check=True
    )
    assert done.stdout == "this ['argument'] 1\n"


def test_a_child_whose_parent_is_gone_does_not_begin():
    if sys.platform != "linux":
        pytest.skip("parent death is a socket's end elsewhere")
    command = child.command("this", watches="socket")
    command[6] = "1"
    assert subprocess.run(command, capture_output=True, check=False).returncode == 1


def test_exits_are_described():
    assert describe_exit(0) == "exit status 0"
    assert describe_exit(-9) == "signal 9 (SIGKILL)"
    assert describe_exit(-64) == "signal 64 (SIGRTMAX)" if sys.platform == "linux" else True


def test_openblas_can_be_named_or_turned_off():
    assert blas_environment("") == {}
    if sys.platform == "linux":
        assert blas_environment("/lib/x.so")["LD_PRELOAD"] == "/lib/x.so"


@pytest.mark.parametrize(
    ("gigabytes", "platform", "expected"),
    [(16, "darwin", 16 * 2 // 3), (64, "darwin", 48), (24, "linux", 24)],
)
def test_the_recommended_working_set_follows_the_platform(
    gigabytes: int, platform: str, expected: int
):
    share = memory.recommended(gigabytes << 30, platform)
    assert share >> 30 == expected


def test_the_budget_leaves_something_to_the_machine():
    assert memory.physical() // 2 <= memory.budget() < memory.physical()


def test_sizes_are_printed_for_people():
    assert memory.human(5 << 30) == "5.0 GiB"
    assert memory.human(1536) == "1.5 KiB"
    assert memory.human(12) == "12 B"
