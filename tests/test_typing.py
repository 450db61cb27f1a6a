"""What a type checker sees of the packages: a user's file for each backend, its right lines and its wrong ones."""

import re
import subprocess
import sys

import pytest

from tests.support import require

USERS = {
    "torch": '''
import densenet_torch
from torch import Tensor, nn

model: nn.Module = densenet_torch.densenet121(num_classes=10, growth_rate=16, drop_rate=0.1)
model = densenet_torch.get_model("densenet121", squeeze_excitation={"ratio": 8})
densenet_torch.densenet121(num_clases=10)  # wrong: call-arg
densenet_torch.densenet121(block_config=6)  # wrong: arg-type
densenet_torch.densenet121(weights=True)  # wrong: arg-type
''',
    "mxnet": '''
import densenet_mxnet

model = densenet_mxnet.densenet121(classes=10, growth_rate=16)
model.initialize()
model = densenet_mxnet.get_model("densenet121", compression=0.5)
densenet_mxnet.densenet121(clases=10)  # wrong: call-arg
densenet_mxnet.densenet121(classes="ten")  # wrong: arg-type
''',
    "keras": '''
import densenet_keras

model = densenet_keras.DenseNet121(classes=10, input_shape=(64, 64, 3), pooling="avg", dropout=0.1)
model = densenet_keras.get_model("densenet121", include_top=False)
densenet_keras.DenseNet121(clases=10)  # wrong: call-arg
densenet_keras.DenseNet121(input_shape=64)  # wrong: arg-type
''',
}  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """{(file, line): code of the error}, of all files in one run."""
    pytest.importorskip("mypy")
    place = tmp_path_factory.mktemp("users")
    for name, text in USERS.items():
        (place / f"{name}_user.py").write_text(text)
    options = "[mypy]\nfollow_imports = silent\nignore_missing_imports = true\n"
    (place / "mypy.ini").write_text(options + "[mypy-torch.*,keras.*,mxnet.*,tensorflow.*]\nfollow_imports = skip\n")
    files = [str(place / f"{name}_user.py") for name in USERS]
    settings = ["--config-file", str(place / "mypy.ini"), "--cache-dir", str(place / "cache")]
    # In a process of its own: mypy raises the limit on recursion for all that comes after.
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *settings, *files], capture_output=True, text=True, timeout=300
    )
    assert not done.stderr, done.stderr
    errors = re.findall(r"(\w+)_user\.py:(\d+): error: .*\[([\w-]+)\]", done.stdout)
    return {(name, int(line)): code for name, line, code in errors}


@pytest.mark.parametrize("name", USERS)
def test_a_type_checker_knows_right_arguments_from_wrong_ones(name, found):
    require(name)
    lines = enumerate(USERS[name].splitlines(), start=1)
    wrong = {line: text.rpartition("wrong: ")[2] for line, text in lines if "# wrong: " in text}
    assert {line: code for (file, line), code in found.items() if file == name} == wrong
