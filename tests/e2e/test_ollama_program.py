"""The official `ollama` program against a server of ours, where it is at hand."""

import lzma
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import DATA, SHARED
from tests.serving import ServerProcess

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(120)]
PACKED = SHARED / "clients" / "ollama-cli-0.33-linux-amd64.xz"
GGUF = SHARED / "zoo" / "llama" / "model-f16.gguf"
ADAPTERS = DATA / "adapters"
MODEL = "model.safetensors"
GREEDY = "PARAMETER temperature 0\nPARAMETER num_predict 6\nTEMPLATE {{ .Prompt }}\n"
_CONTROL = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")

_SPINNER = re.compile("[\u2800-\u28ff]")


class Ollama:
    """Runs the program and gives what it printed."""

    def __init__(self, program: Path, port: int, folder: Path) -> None:
        self._program, self.folder = program, folder
        self._environment = os.environ | {
            "OLLAMA_HOST": f"127.0.0.1:{port}",
            "HOME": str(folder),
        }

    def __call__(self, *arguments: str, status: int = 0) -> str:
        done = subprocess.run(
            [self._program, *arguments],
            env=self._environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
        )
        output = _CONTROL.sub("", done.stdout + done.stderr)
        assert done.returncode == status, output
        return output

    def say(self, name: str, prompt: str) -> str:
        """A model's answer, without what the program turns while it waits."""
        return _SPINNER.sub("", self("run", name, prompt)).strip()

    def create(self, name: str, modelfile: str, *options: str) -> str:
        (self.folder / "Modelfile").write_text(modelfile)
        return self("create", name, "-f", "Modelfile", *options)


@pytest.fixture(scope="module")
def ollama(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ollama]:
    if not PACKED.is_file() or not GGUF.is_file():
        pytest.skip("no ollama program beside this checkout")
    folder = tmp_path_factory.mktemp("client")
    program = folder / "ollama"
    program.write_bytes(lzma.decompress(PACKED.read_bytes()))
    program.chmod(0o755)
    try:
        subprocess.run([program, "--version"], capture_output=True, check=True, timeout=30)
    except OSError:
        pytest.skip("the ollama program is for another system")
    with ServerProcess(tmp_path_factory.mktemp("home")) as server:
        yield Ollama(program, server.port, folder)


FULL = f"""FROM {GGUF}
TEMPLATE \"\"\"{{{{ .System }}}} {{{{ .Prompt }}}}\"\"\"
SYSTEM You are "Mario".
PARAMETER temperature 0
PARAMETER num_predict 4
PARAMETER stop "a b"
LICENSE \"\"\"MIT
of sorts\"\"\"
MESSAGE user Hi
MESSAGE assistant Hello
"""


def test_a_modelfile_becomes_a_model_and_is_shown_in_all_forms(ollama: Ollama) -> None:
    assert ollama.create("mario", FULL).rstrip().endswith("success")
    assert re.search(r"^mario:latest +[0-9a-f]{12} +29\d KB ", ollama("list"), re.MULTILINE)
    shown = ollama("show", "mario")
    for line in (
        "architecture +llama",
        "parameters +140K",
        "context length +512",
        "quantization +F16",
    ):
        assert re.search(line, shown)
    assert ollama("show", "mario", "--system").strip() == 'You are "Mario".'
    assert ollama("show", "mario", "--template").strip() == "{{ .System }} {{ .Prompt }}"
    assert ollama("show", "mario", "--license").strip() == "MIT\nof sorts"
    parameters = ollama("show", "mario", "--parameters").splitlines()
    assert [line.split(maxsplit=1) for line in parameters] == [
        ["num_predict", "4"],
        ["stop", '"a b"'],
        ["temperature", "0"],
    ]
    assert "blk.1.ffn_up.weight" in ollama("show", "mario", "--verbose")


def test_what_show_prints_makes_the_same_model_again(ollama: Ollama) -> None:
    ollama.create("mario", FULL)
    modelfile = ollama("show", "mario", "--modelfile")
    ollama.create("again", modelfile)
    copy = ollama("show", "again", "--modelfile")
    assert copy.replace("again:latest", "mario:latest") == modelfile


def test_a_derived_model_is_copied_run_stopped_and_removed(ollama: Ollama) -> None:
    ollama.create("mario", FULL)
    ollama.create("derived", "FROM mario\nPARAMETER temperature 1\nSYSTEM other\n")
    ollama("cp", "derived", "me/copy:v1")
    assert "me/copy:v1" in ollama("list")
    assert ollama("run", "me/copy:v1", "hello")
    assert re.search(r"^me/copy:v1 .* 100% [CG]PU ", ollama("ps"), re.MULTILINE)
    ollama("stop", "me/copy:v1")
    ollama("rm", "derived", "me/copy:v1")
    assert "derived" not in ollama("list")


def test_a_checkpoint_is_imported_quantised_and_run(ollama: Ollama) -> None:
    modelfile = f"FROM {GGUF.parent}\nPARAMETER num_predict 4\n"
    ollama.create("plain", modelfile)
    ollama.create("small", modelfile, "--quantize", "int8")
    ollama.create("smaller", "FROM plain\n", "--quantize", "q4_K_M")
    for name, level in (("plain", "F16"), ("small", "INT8"), ("smaller", "Q4_K_M")):
        shown = ollama("show", name)
        assert re.search(rf"quantization +{level}", shown)
        assert re.search("parameters +140K", shown)
    assert ollama("run", "small", "hello")
    (ollama.folder / "Modelfile").write_text("FROM small\n")
    refused = ollama("create", "x", "-f", "Modelfile", "--quantize", "q8_0", status=1)
    assert "quantization is only supported for F16, BF16 and F32 models" in refused


def test_adapters_of_both_formats_change_what_a_model_says(ollama: Ollama) -> None:
    """A folder's weights must be called model*.safetensors for this program to find them."""
    folder = ollama.folder / "lora"
    folder.mkdir()
    files = {"adapter_config.json": "adapter_config.json", "adapter_model.safetensors": MODEL}
    for name, new in files.items():
        (folder / new).write_bytes((ADAPTERS / "llama-peft" / name).read_bytes())
    ollama.create("plain", f"FROM {GGUF}\n" + GREEDY)
    ollama.create("gguf", f"FROM plain\nADAPTER {ADAPTERS / 'llama-lora.gguf'}\n")
    assert "converting adapter" in ollama.create("peft", "FROM plain\nADAPTER ./lora\n")
    ollama.create("tensors", f"FROM {GGUF.parent}\nADAPTER ./lora\n" + GREEDY)
    ollama.create("small", "FROM peft\n", "--quantize", "int8")
    names = ("plain", "gguf", "peft", "tensors")
    said = {name: ollama.say(name, "The cat sat on") for name in names}
    assert said["plain"] not in (said["gguf"], said["peft"])
    assert said["peft"] == said["tensors"]
    ollama.create("again", ollama("show", "peft", "--modelfile"))
    assert said["peft"] == ollama.say("again", "The cat sat on")
    assert ollama.say("small", "The cat sat on")
    lines = ollama("show", "small", "--modelfile").splitlines()
    assert sum(line.startswith("ADAPTER ") for line in lines) == 1
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "use_dora": true}')
    (ollama.folder / "Modelfile").write_text("FROM plain\nADAPTER ./lora\n")
    refused = ollama("create", "x", "-f", "Modelfile", status=1)
    assert "DoRA adapters are not supported" in refused


def test_mistakes_are_told(ollama: Ollama) -> None:
    assert "model 'nosuch' not found" in ollama("rm", "nosuch", status=1)
    assert 'model "nosuch" not found' in ollama("cp", "nosuch", "x", status=1)
    assert "not found" in ollama("show", "nosuch", status=1)
