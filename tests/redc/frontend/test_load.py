"""What a user may name as MODEL, and what is wrong with it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import hypothesis
import numpy as np
import onnx
import pytest
from hypothesis import strategies as st

from redc.errors import UserError
from redc.frontend import import_graph, load_model
from redc.ir.graph import CrossbarOp
from redc.ir.verify import verify_graph
from tests.redc.frontend.test_operators import FIRST, parse

FULL = parse(
    """a = ConvTranspose<strides = [2, 2], group = 1>(x, w, s)
       b = BatchNormalization<epsilon = 0.1>(a, s, s, s, s)
       c = Clip(b, low)
       d = Reshape(c, to)
       e = Gemm<transB = 1>(d, m)
       y = Tanh(e)""",
    x="float[N, 2, 2, 1] x",
    y="float[1, 1] y",
    constants=f"{FIRST}, float[2] s = {{1, 2}}, int64[2] to = {{1, -1}}, float low = {{-1}}, "
    "float[1, 6] m = {1, 2, 3, 4, 5, 6}",
)


@pytest.fixture
def model() -> onnx.ModelProto:
    return parse("y = ConvTranspose(x, w)", constants=FIRST)


def error_of(source: str | Path, **options: Callable[..., object]) -> str:
    with pytest.raises(UserError) as caught:
        load_model(source, **options)  # type: ignore[arg-type]  # stand-ins
    return str(caught.value)


def test_a_file_and_a_loaded_model(tmp_path: Path, model: onnx.ModelProto) -> None:
    onnx.save(model, tmp_path / "m.onnx")
    assert load_model(tmp_path / "m.onnx") == model
    assert load_model(str(tmp_path / "m.onnx")) == model
    assert load_model(model) is model


def test_a_model_of_an_old_operator_set_is_raised() -> None:
    old = parse("y = Gemm<broadcast = 1>(x, w, c)", x="float[2, 3] x", y="float[2, 1] y",
                constants="float[3, 1] w = {1, 2, 3}, float[1] c = {4}")  # fmt: skip
    old.opset_import[0].version = 6
    raised = load_model(old)
    assert raised.opset_import[0].version == 7
    (op,) = import_graph(raised).ops
    assert isinstance(op, CrossbarOp)
    assert op.bias.tolist() == [4]


def test_a_name_is_resolved(model: onnx.ModelProto) -> None:
    assert load_model("Small", resolve={"Small": model}.get, names=lambda: ["small"]) is model


def test_a_file_wins_over_a_name_and_a_name_over_a_folder(
    tmp_path: Path, model: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("small").mkdir()
    assert load_model("small", resolve=lambda name: model, names=lambda: ["small"]) is model
    Path("other").write_bytes(model.SerializeToString())
    assert load_model("other", resolve=lambda name: None, names=lambda: ["other"]) == model


def test_an_unknown_name_suggests_a_known_one(model: onnx.ModelProto) -> None:
    message = error_of("DCGAN_face46", resolve=lambda name: None, names=lambda: ["dcgan_face64", "other"])
    assert message == (
        "DCGAN_face46: there is no such file, nor a model of that name\n  hint: did you mean 'dcgan_face64'?"
    )
    far = error_of("zzz", resolve=lambda name: None, names=lambda: ["dcgan_face64", "other"])
    assert "known models: dcgan_face64, other" in far


@pytest.mark.parametrize("name", ["a\0b", "x" * 5000, "no/such/file.onnx"], ids=["zero", "long", "none"])
def test_names_that_no_file_can_have(name: str) -> None:
    assert "there is no such file" in error_of(name, resolve=lambda name: None)


def test_an_empty_name() -> None:
    assert "the model's name is empty" in error_of("")


def test_a_folder(tmp_path: Path) -> None:
    assert "it is a directory" in error_of(tmp_path)


def test_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").touch()
    assert "the file is empty" in error_of(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    "content",
    [
        b"GIF89a" + bytes(range(256)),
        b"{}",
        b"\x89PNG\r\n\x1a\n",
        b"\0" * 100,
        b"\x08\x08",
        b"hello, world\n" * 9,
    ],
)
def test_not_an_onnx_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    assert "not an ONNX file" in error_of(path)
    assert str(path) in error_of(path)


def test_every_truncation_is_an_error(tmp_path: Path, model: onnx.ModelProto) -> None:
    content = model.SerializeToString()
    path = tmp_path / "m.onnx"
    reasons = set()
    for length in range(1, len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(UserError) as caught:
            import_graph(load_model(path))
        reasons.add(caught.value.message.split(":")[0])
    assert "the file is truncated" in reasons


@hypothesis.given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3))
@hypothesis.settings(max_examples=5 * hypothesis.settings().max_examples)
def test_damaged_bytes_are_an_error_or_another_model(flips: list[tuple[int, int]]) -> None:
    content = bytearray(FULL.SerializeToString())
    for at, value in flips:
        content[at % len(content)] = value
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "m.onnx")
        path.write_bytes(content)
        with contextlib.suppress(UserError):
            verify_graph(import_graph(load_model(path)))


def test_an_unreadable_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "m.onnx"
    path.touch()

    def refuse(self: Path, mode: str) -> bytes:  # root may read anything, so permissions prove nothing
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    assert "cannot be read: Permission denied" in error_of(path)


# ---------------------------------------------------------------- external data


@pytest.fixture
def external(tmp_path: Path, model: onnx.ModelProto) -> Path:
    """A model whose weights lie in data/w.bin beside it."""
    (tmp_path / "data").mkdir()
    array = np.array([1, 2, 3, 4], np.float32).reshape(2, 2, 1, 1)
    (tmp_path / "data" / "w.bin").write_bytes(b"pad!" + array.tobytes())
    _point(model, location="data/w.bin", offset="4", length="16")
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    return tmp_path / "m.onnx"


def _point(model: onnx.ModelProto, **entries: str) -> None:
    tensor = model.graph.initializer[0]
    tensor.ClearField("float_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    del tensor.external_data[:]
    for key, value in entries.items():
        tensor.external_data.add(key=key, value=value)


def test_external_data_is_read_in(external: Path) -> None:
    (op,) = import_graph(load_model(external)).ops
    assert isinstance(op, CrossbarOp)
    assert op.weight.ravel().tolist() == [1, 2, 3, 4]


def test_external_data_that_is_missing_or_too_short(external: Path) -> None:
    (external.parent / "data" / "w.bin").write_bytes(b"pad!123")
    assert "'data/w.bin' is truncated: 20 bytes are needed, it has 7" in error_of(external)
    (external.parent / "data" / "w.bin").unlink()
    message = error_of(external)
    assert "initializer 'w'" in message
    assert "'data/w.bin' cannot be read: No such file" in message


def test_a_missing_data_file_is_one_error_however_many_tensors_lie_in_it(tmp_path: Path) -> None:
    def tensor(name: str) -> onnx.TensorProto:
        found = onnx.TensorProto(name=name, data_type=1, dims=[2], data_location=onnx.TensorProto.EXTERNAL)
        found.external_data.add(key="location", value="w.bin")
        found.external_data.add(key="offset", value=str(8 * int(name[1:])))
        return found

    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17]> g (float[2] x) => (float[2] y) { y = Sum(x, w0, w39) }'
    )
    model.graph.initializer.extend(tensor(f"w{i}") for i in range(40))
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(UserError) as caught:
        load_model(tmp_path / "m.onnx")
    (error,) = caught.value.errors
    assert str(error.place).endswith("m.onnx: initializers 'w0', 'w1', 'w2' and 37 more")
    (tmp_path / "w.bin").write_bytes(bytes(8 * 38))
    with pytest.raises(UserError, match=r"'w38', 'w39': the data file 'w\.bin' is truncated: 320 bytes"):
        load_model(tmp_path / "m.onnx")


@pytest.mark.parametrize(
    "location", ["../w.bin", "/etc/passwd", "data/../../w.bin", "", "C:\\w.bin", "link.bin"]
)
def test_external_data_that_leaves_the_folder(external: Path, model: onnx.ModelProto, location: str) -> None:
    os.symlink("/etc/passwd", external.parent / "link.bin")
    _point(model, location=location)
    external.write_bytes(model.SerializeToString())
    assert "lies outside the model's folder" in error_of(external)


@pytest.mark.parametrize(
    ("offset", "expected"), [("x", "no number"), ("-4", "negative"), ("999", "truncated")]
)
def test_external_data_at_no_place(
    external: Path, model: onnx.ModelProto, offset: str, expected: str
) -> None:
    _point(model, location="data/w.bin", offset=offset)
    external.write_bytes(model.SerializeToString())
    assert expected in error_of(external)


def test_as_much_external_data_is_read_as_the_shape_needs(external: Path, model: onnx.ModelProto) -> None:
    with (external.parent / "data" / "w.bin").open("ab") as file:
        file.truncate(1 << 40)  # it is sparse, and no memory would hold it
    _point(model, location="data/w.bin", offset="4")
    external.write_bytes(model.SerializeToString())
    assert len(load_model(external).graph.initializer[0].raw_data) == 16
    _point(model, location="data/w.bin", length=str(1 << 39))
    external.write_bytes(model.SerializeToString())
    assert "bytes in 'data/w.bin', its shape [2, 2, 1, 1] needs 16" in error_of(external)


def test_links_that_lead_to_themselves(external: Path, model: onnx.ModelProto) -> None:
    (external.parent / "loop.bin").symlink_to("loop.bin")
    _point(model, location="loop.bin")
    external.write_bytes(model.SerializeToString())
    assert "the data file 'loop.bin' can" in error_of(external)


def test_external_data_in_functions_is_held_to_the_same_rules(external: Path, model: onnx.ModelProto) -> None:
    _point(model, location="../w.bin")
    node = onnx.helper.make_node("Constant", [], ["c"], value=model.graph.initializer[0])
    opsets = [onnx.helper.make_opsetid("", 17)]
    model.functions.append(onnx.helper.make_function("own", "f", [], ["c"], [node], opsets))
    del model.graph.initializer[:]
    external.write_bytes(model.SerializeToString())
    assert "lies outside the model's folder" in error_of(external)


def test_a_loaded_model_with_external_data_that_was_not_loaded(model: onnx.ModelProto) -> None:
    _point(model, location="data/w.bin")
    with pytest.raises(UserError, match="external file that was not loaded"):
        import_graph(model)


def test_the_frontend_imports_no_onnxruntime() -> None:
    code = "import sys, redc.errors, redc.frontend; sys.exit('onnxruntime' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
