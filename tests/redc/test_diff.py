"""`redc diff` keeps its promises, and breaks them where a program is wrong."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import TensorProto, helper, numpy_helper

import redc
from isa.program import Address, Affine, Instruction, Loop, Program
from redc.diff import Closeness, diff
from redc.diff_report import OutputRow

SHAPE = (2, 5, 3, 3)


def generator(last="Tanh", extra=False, seed=0):
    """ct1 (BatchNormalization, Relu), ct2 (LeakyRelu), perhaps `mid`, a 1x1 Conv `head`, `last`."""
    rng = np.random.default_rng(seed)

    def normal(*shape):
        return (rng.standard_normal(shape) * 0.3).astype(np.float32)

    constants = {
        "w1": normal(5, 4, 4, 4), "g": normal(4) + 1, "b": normal(4), "m": normal(4), "v": normal(4) ** 2 + 1,
        "w2": normal(4, 4, 3, 3), "b2": normal(4), "w3": normal(2, 4, 1, 1), "w4": normal(4, 4, 1, 1),
    }  # fmt: skip
    nodes = [
        helper.make_node("ConvTranspose", ["z", "w1"], ["t1"], name="ct1", strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("BatchNormalization", ["t1", "g", "b", "m", "v"], ["n1"], name="bn1"),
        helper.make_node("Relu", ["n1"], ["r1"], name="relu1"),
        helper.make_node(
            "ConvTranspose", ["r1", "w2", "b2"], ["t2"], name="ct2", strides=[3, 1], pads=[0, 1, 1, 2]
        ),
        helper.make_node("LeakyRelu", ["t2"], ["r2"], name="leaky2", alpha=0.1),
        helper.make_node("ConvTranspose", ["r2", "w4"], ["u"], name="mid"),
        helper.make_node("Conv", ["u" if extra else "r2", "w3"], ["t3"], name="head"),
        helper.make_node(last, ["t3"], ["y"], name="last"),
    ]
    z = helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", *SHAPE[1:]])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    values = [numpy_helper.from_array(v, name) for name, v in constants.items()]
    if not extra:
        del nodes[5]
    graph = helper.make_graph(nodes, "generator", [z], [y], values)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.fixture(scope="module")
def inputs():
    return {"z": np.random.default_rng(1).standard_normal(SHAPE).astype(np.float32)}


@pytest.fixture(scope="module")
def program(inputs) -> Program:
    return redc.compile(generator(), shapes={"z": SHAPE}, calibrate=inputs)


def with_data(program, name, change):
    """The same program, one constant of its data changed in place by `change`."""
    assert name in program.data, sorted(program.data)
    array = program.data[name].copy()
    change(array)
    return dataclasses.replace(program, data={**program.data, name: array})


def with_layer(program, name, change):
    """The same program; `change` gives each instruction of one layer, or None to leave it."""

    def rewrite(nodes):
        return tuple(
            dataclasses.replace(node, body=rewrite(node.body))
            if isinstance(node, Loop)
            else change(node) or node
            for node in nodes
        )

    layers = tuple(
        dataclasses.replace(layer, body=rewrite(layer.body)) if layer.name == name else layer
        for layer in program.layers
    )
    assert layers != program.layers
    return dataclasses.replace(program, layers=layers)


def crossbar_of(program, layer):
    return next(c for name, c in program.crossbars.items() if layer in name)


def assert_names(report, layer, *words):
    assert not report.passed
    verdict = report.verdict()
    assert f"first broken: layer '{layer}'" in verdict
    for word in words:
        assert word in verdict
    assert [row.integer_exact for row in report.layers if row.name == layer] == [False]
    assert verdict in report.table()
    assert report.as_dict()["passed"] is False


@pytest.mark.parametrize("mapping", ["pixel-wise", "zero-padding", "padding-free"])
def test_a_compiled_program_is_integer_exact_in_every_mapping(inputs, mapping):
    report = diff(generator(), inputs=inputs, mapping=mapping, min_sqnr=20)
    assert report.passed, report.table()
    assert [row.integer_exact for row in report.layers if row.kind == "crossbar"] == [True] * 3
    assert report.mapping == mapping


@pytest.mark.parametrize(("weight_bits", "input_bits"), [(2, 8), (8, 2), (5, 3), (12, 9), (16, 16)])
def test_any_bits_are_integer_exact(inputs, weight_bits, input_bits):
    report = diff(generator("Sigmoid"), inputs=inputs, weight_bits=weight_bits, input_bits=input_bits)
    assert report.passed, report.table()


def test_both_engines_give_one_report(program, inputs):
    fast, step = (diff(generator(), program, inputs, engine=name) for name in ("fast", "step"))
    assert dataclasses.replace(fast, engine="", notes=()) == dataclasses.replace(step, engine="", notes=())


@pytest.mark.parametrize("layer", ["ct1", "ct2", "head"])
def test_one_flipped_weight_names_the_layer(program, inputs, layer):
    def flip(weights):
        index = np.unravel_index(np.argmax(weights), weights.shape)
        weights[index] = -weights[index]

    wrong = with_data(program, crossbar_of(program, layer).data, flip)
    assert_names(diff(generator(), wrong, inputs), layer, "accumulators differ, first at %")


@pytest.mark.parametrize("layer", ["ct1", "ct2"])
def test_one_weight_off_by_one_names_the_layer(program, inputs, layer):
    def nudge(weights):
        weights.flat[weights.size // 2] += 1 if weights.flat[weights.size // 2] < 127 else -1

    wrong = with_data(program, crossbar_of(program, layer).data, nudge)
    assert_names(diff(generator(), wrong, inputs), layer, "accumulators differ")


@pytest.mark.parametrize("layer", ["ct1", "ct2"])
def test_one_wrong_address_names_the_layer(program, inputs, layer):
    seen = []

    def shift(instruction: Instruction):
        if instruction.mnemonic != "drive" or seen:
            return None
        seen.append(instruction)
        band, source = instruction.operands
        assert isinstance(source, Address)
        last = source.indices[-1]
        moved = Affine(last.terms, last.constant + 1, last.divisor)
        address = Address(source.buffer, (*source.indices[:-1], moved), outside=True)
        return dataclasses.replace(instruction, operands=(band, address))

    assert_names(diff(generator(), with_layer(program, layer, shift), inputs), layer, "accumulators differ")


@pytest.mark.parametrize("layer", ["ct1", "ct2", "head"])
def test_one_requantisation_constant_names_the_layer(program, inputs, layer):
    def scale(values):
        values[0] *= np.float32(1.1)

    wrong = with_data(program, f"{layer}.scale", scale)
    assert_names(diff(generator(), wrong, inputs), layer, "output codes differ")


def test_a_wrong_saturation_bound_names_the_layer(program, inputs):
    def raised(instruction: Instruction):
        if instruction.mnemonic != "quant":
            return None
        changed = tuple((k, v + 1 if k == "low" else v) for k, v in instruction.attributes)
        return dataclasses.replace(instruction, attributes=changed)

    report = diff(generator(), with_layer(program, "ct1", raised), inputs)
    assert_names(report, "ct1", "output codes differ", "got 1, expected 0")


@pytest.mark.parametrize("layer", ["ct1", "ct2"])
def test_one_bias_off_by_one_names_the_layer(program, inputs, layer):
    def nudge(values):
        values[1] += 1

    wrong = with_data(program, f"{layer}.bias", nudge)
    report = diff(generator(), wrong, inputs)
    assert_names(report, layer, "accumulators differ")
    row = next(row for row in report.layers if row.name == layer)
    assert row.mismatch.count * 4 == row.mismatch.size  # one of four channels
    assert row.mismatch.got == row.mismatch.expected + 1


def test_only_the_broken_layer_is_blamed(program, inputs):
    """Each layer is judged on the codes it was given, so a fault does not spread to its successors."""

    def nudge(values):
        values[0] += 1000

    report = diff(generator(), with_data(program, "ct1.bias", nudge), inputs)
    assert [row.integer_exact for row in report.layers if row.kind == "crossbar"] == [False, True, True]


def test_a_layer_that_the_program_lacks_is_a_failure(program, inputs):
    report = diff(generator(extra=True), program, inputs)
    assert "no layer of the program computes ConvTranspose 'mid'" in report.verdict()
    assert_names(report, "head", "reads tensor 'u', but the layer drives from buffer %r2")


def test_an_output_of_another_shape_is_refused(program, inputs):
    other = generator()
    pads = next(a for a in other.graph.node[3].attribute if a.name == "pads")
    pads.ints[0] = 2
    with pytest.raises(redc.UserError, match=r"gives 'y' as \[2, 2, 17, 5\], the model as \[2, 2, 15, 5\]"):
        diff(other, program, inputs)


def test_a_program_of_another_model_is_refused(program, inputs):
    other = generator()
    other.graph.input[0].name = "noise"
    other.graph.node[0].input[0] = "noise"
    with pytest.raises(redc.UserError, match=r"the model has no input .z.; input .noise. is missing"):
        diff(other, program, inputs)


def test_compile_options_with_a_program_are_refused(program, inputs):
    with pytest.raises(redc.UserError, match="weight_bits"):
        diff(generator(), program, inputs, weight_bits=4)


def test_an_output_below_the_bound_fails_and_names_the_first_such_layer(program, inputs):
    report = diff(generator(), program, inputs, min_sqnr=200)
    assert not report.passed
    assert "asked for 200; first below: layer 'ct1'" in report.verdict()
    assert all(row.integer_exact for row in report.layers if row.kind == "crossbar")


def test_inputs_nobody_gave_are_named(program):
    report = diff(generator(), program, input_seed=5)
    assert report.about == ("inputs: standard normal, default_rng(5)",)
    assert diff(generator(), program, input_seed=5, seed=4) == report  # the seed is the machine's alone
    assert diff(generator(), program).outputs != report.outputs


def test_values_that_the_scales_do_not_cover_are_told(program, inputs):
    assert not any("cover" in note for note in diff(generator(), program, inputs).table().splitlines())
    report = diff(generator(), program, {"z": 100 * inputs["z"]})
    assert report.passed
    assert report.inputs["z"] > 0.5
    assert all(row.clipped > 0.05 for row in report.clipping())
    assert "clipped" in report.table()
    assert "values lie outside of what the program's scales cover, most in" in report.table()
    assert [layer["clipped"] for layer in report.as_dict()["layers"]] == [
        row.clipped for row in report.layers
    ]


def test_the_json_document_has_the_keys_of_the_design(program, inputs):
    document = diff(generator(), program, inputs).as_dict()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert list(document) == [
        "schema", "model", "target", "mapping", "engine", "fidelity", "passed", "outputs", "layers", "totals",
        "hosts", "inputs", "notes",
    ]  # fmt: skip
    assert list(document["outputs"][0]) == ["name", "shape", "sqnr_db", "exact", "max_abs_err", "cosine"]
    assert list(document["layers"][0]) == [
        "name", "kind", "op", "nodes", "tensor", "mapping", "integer_exact", "sqnr_db", "exact",
        "rounds", "cycles", "arrays", "host_s", "conversions", "saturated", "rounded", "clipped",
        "energy_j", "latency_s", "energy_aj", "leakage_aj",
    ]  # fmt: skip
    totals = ["rounds", "cycles", "latency_s", "energy_j", "arrays", "area_mm2"]
    assert list(document["totals"])[: len(totals)] == totals
    assert document["totals"].keys() >= {"host_s", "macs"}
    assert document["totals"]["energy_j"] == pytest.approx(sum(x["energy_j"] for x in document["layers"]))
    first = document["layers"][0]
    assert (first["name"], first["kind"], first["op"], first["tensor"]) == (
        "ct1",
        "crossbar",
        "ConvTranspose",
        "r1",
    )
    assert first["nodes"] == ["ct1", "bn1", "relu1"]
    assert document["totals"]["rounds"] == sum(layer["rounds"] or 0 for layer in document["layers"])


def test_closeness_of_equal_zero_and_opposite_tensors():
    ones, zeros = np.ones(4), np.zeros(4)
    assert Closeness.of(ones, ones) == Closeness(math.inf, 0.0, 1.0)
    assert Closeness.of(zeros, zeros) == Closeness(math.inf, 0.0, 1.0)
    assert Closeness.of(ones, zeros) == Closeness(-math.inf, 1.0, None)
    assert Closeness.of(zeros, ones) == Closeness(0.0, 1.0, None)
    assert Closeness.of(-ones, ones).cosine == -1.0
    assert Closeness.of(ones * 1.1, ones).sqnr_db == pytest.approx(20.0)


def test_json_tells_no_difference_from_the_worst_one():
    best, worst = (OutputRow("y", (4,), sign * math.inf, 0.0, None).as_dict() for sign in (1, -1))
    assert (best["sqnr_db"], worst["sqnr_db"]) == (None, None)
    assert (best["exact"], worst["exact"]) == (True, False)


def test_the_module_and_the_function_are_called_alike(program, inputs):
    import redc.diff  # leaves the module under the name

    assert redc.diff(generator(), program, inputs).passed


def test_a_model_of_the_zoo_needs_nothing_but_its_name():
    report = diff("dcgan_face64", min_sqnr=26)
    assert report.passed, report.table()
    assert sum(row.kind == "crossbar" for row in report.layers) == 5
    assert report.outputs[0].shape == (8, 3, 64, 64)


def test_onnx_models_survive_being_compared(program, inputs):
    model = generator()
    before = model.SerializeToString()
    diff(model, program, inputs)
    assert model.SerializeToString() == before
    assert isinstance(model, onnx.ModelProto)


def test_in_adc_a_layer_must_be_exact_unless_its_conversions_lost_something(inputs):
    lossless = diff(generator(), None, inputs, fidelity="adc", target="isaac")
    assert lossless.passed
    assert all(layer.integer_exact and not layer.saturated for layer in lossless.layers if layer.conversions)
    program = redc.compile(generator(), shapes={"z": SHAPE}, calibrate=inputs, target="isaac")
    program = dataclasses.replace(program, target=dataclasses.replace(program.target, adc=2))
    lossy = diff(generator(), program, inputs, fidelity="adc")
    assert lossy.passed
    assert any(layer.saturated and layer.integer_exact is False for layer in lossy.layers)


def test_a_model_without_crossbar_layers_is_not_said_to_be_proven():
    model = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["" : 13]> net (float[1, 8] x) => (float[1, 8] y) { y = Relu(x) }'
    )
    report = diff(model, inputs={"x": np.linspace(-1, 1, 8, dtype=np.float32)[None]})
    assert report.passed
    assert report.verdict().startswith("passed: no crossbar layers to prove; ")


def test_an_output_of_which_little_is_left_is_told_and_from_where_on(inputs):
    """Two bits are exact integers, and hardly an image; who asked for a bound reads it in the verdict."""
    few = {"weight_bits": 2, "input_bits": 2}
    report = diff(generator(), inputs=inputs, **few)
    assert report.passed
    assert report.outputs[0].sqnr_db < 10
    low = next(row for row in report.layers if row.closeness and row.closeness.sqnr_db < 10)
    after = report.table().split("little is left")[1]
    assert f"from layer {low.name!r} on" in " ".join(after.split())
    assert "little is left" not in diff(generator(), inputs=inputs, min_sqnr=20, **few).table()
    assert "little is left" not in diff(generator(), inputs=inputs).table()
