"""The graph IR: operators over named tensors, in one frozen value that passes rewrite.

An operator is a frozen dataclass.  The frontend fills what the model says; each pass fills one
more of the optional fields (`quantised`, `pixels`, `schedule`, `place`), so the type of an
operator never changes on its way to the backend.  networkx holds the graph for questions about
its order and shape; operand order lives in the operators.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import networkx as nx
import numpy as np
import numpy.typing as npt

from redc.ir.stencil import Region
from redc.ir.tensors import F64, Activation, Array, Codes, Tensor
from redc.mapping.formula import KernelPixel
from redc.mapping.schedule import Schedule

__all__ = [
    "F64",
    "Activation",
    "Array",
    "Codes",
    "CrossbarOp",
    "GivenWeight",
    "Graph",
    "HostOp",
    "MachineOp",
    "Normalisation",
    "Op",
    "RegionCodes",
    "Requantise",
    "ReshapeOp",
    "StencilOp",
    "Table",
    "Tensor",
    "VectorOp",
]


@dataclass(frozen=True, eq=False, slots=True)
class Table:
    """A function by table: quantise to `low + u` on a fine grid, then look up (see `lookup`)."""

    low: int
    high: int
    shift: int
    fraction: int
    entries: Array  # int64
    error: float  # largest deviation from the exact function, in steps of the output code


@dataclass(frozen=True, eq=False, slots=True)
class Requantise:
    """What turns accumulators into output codes.

    `scale` is f32, one per channel or one for all.  Without a table `low` and `high` saturate
    the output code and `slope` scales negatives; with one they bound the table's input.  With
    `then` the table makes finer steps than the codes, and these scales requantise them.
    """

    scale: npt.NDArray[np.float32]
    zero: int
    low: int
    high: int
    slope: float = 1.0
    table: Table | None = None
    pieces: tuple[Table, ...] = ()
    then: npt.NDArray[np.float32] | None = None


@dataclass(frozen=True, eq=False, slots=True)
class GivenWeight:
    """The weight of a model that arrives quantised: real = scale * codes, taken as it is.

    `codes` are integers as `CrossbarOp.weight`, less their zero point; `scale` (M,) is float64;
    `bits` are those of the file's type (codes less a zero point may need more).
    """

    codes: Array
    scale: F64
    bits: int


@dataclass(frozen=True, eq=False, slots=True)
class CrossbarOp:
    """ConvTranspose, Conv, Gemm or MatMul with constant weights: y = act(x * W + b).

    `weight` is float64 of shape (*kernel, C, M // groups): [k..., c, m] for every operator, so
    that channel c of group g = c // (C // groups) feeds output channel g * (M // groups) + m.
    For Gemm and MatMul `kernel` is (). `bias` is float64 (M,). `pads` are the pads at the
    beginning of each spatial axis.  The input's spatial axes are the last len(kernel) axes of
    its buffer shape before the channel; all axes before them are batch.
    """

    name: str
    op: Literal["ConvTranspose", "Conv", "Gemm", "MatMul"]
    input: str
    output: str
    weight: F64
    bias: F64
    groups: int = 1
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    pads: tuple[int, ...] = ()
    activation: Activation | None = None
    nodes: tuple[str, ...] = ()
    given: GivenWeight | None = None
    # filled by passes, in this order:
    weight_codes: Array | None = None  # int, as `weight`
    weight_bits: int | None = None
    fraction: int = 0  # bits below the point that the sums get, for a bias that has them
    bias_codes: npt.NDArray[np.int64] | None = None
    correction: npt.NDArray[np.int64] | None = None  # what of `bias_codes` is not `bias`
    requantise: Requantise | None = None
    pixels: tuple[KernelPixel, ...] | None = None
    schedule: Schedule | None = None
    place: int | None = None

    @property
    def outputs(self) -> tuple[str, ...]:
        return (self.output,)

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.input,)

    @property
    def in_channels(self) -> int:
        return int(self.weight.shape[-2])

    @property
    def out_channels(self) -> int:
        return int(self.weight.shape[-1]) * self.groups


@dataclass(frozen=True, eq=False, slots=True)
class Normalisation:
    """A BatchNormalization's mean and beta, each (C,): folding a bias b into it rounds as
    (b - mean) * factor + beta does (docs/quantisation.md)."""

    mean: F64
    beta: F64


@dataclass(frozen=True, eq=False, slots=True)
class VectorOp:
    """Elementwise on the vector unit: y = act(sign * combine_i(factor_i * x_i) + bias).

    Covers a BatchNormalization, Add or activation that no crossbar operator absorbed.  `combine`
    is sum, mul, max, min or div; only a sum has a bias, and a product of several has no factors.  A
    quotient is x_0 / x_1 without factors, or factor_0 / x_0.  Factors
    and bias are float64, of shape () or (C,) along the channel axis.  An input may be
    broadcast along axes of length 1 other than the channel axis.  `sign`, 1 or -1 per channel, is
    that of a maximum.  `normalisation` is there for
    a BatchNormalization, whose bias is then beta - mean * factor.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    output: str
    factors: tuple[F64, ...]
    bias: F64
    activation: Activation | None = None
    nodes: tuple[str, ...] = ()
    normalisation: Normalisation | None = None
    combine: Literal["sum", "mul", "max", "min", "div"] = "sum"
    sign: npt.NDArray[np.int64] | None = None
    multipliers: tuple[npt.NDArray[np.int64], ...] | None = None
    bias_codes: npt.NDArray[np.int64] | None = None
    fraction: int = 0  # bits below the point of a quotient
    requantise: Requantise | None = None

    @property
    def plain(self) -> bool:
        """Whether it is an activation of one tensor, or nothing, and no arithmetic."""
        alone = len(self.inputs) == 1 and self.combine == "sum"
        return alone and bool((self.factors[0] == 1).all() and (self.bias == 0).all())

    @property
    def outputs(self) -> tuple[str, ...]:
        return (self.output,)


@dataclass(frozen=True, eq=False, slots=True)
class RegionCodes:
    """A region in integers: a multiplier per tap, in the order of `Region.taps`; the scales of the
    requantisation (one for each channel or for all), None where input and output have the same
    codes; the code of `fill`, for each channel."""

    multipliers: tuple[int, ...]
    scale: npt.NDArray[np.float32] | None
    fill: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False, slots=True)
class StencilOp:
    """Pooling, moving and resizing on the vector unit: every output pixel is the weighted sum or
    the maximum of some input pixels, channel by channel.

    The regions cover the output, each value once.  A maximum has no weights.
    """

    name: str
    op: str
    inputs: tuple[str, ...]
    output: str
    regions: tuple[Region, ...]
    reduction: Literal["sum", "max"] = "sum"
    nodes: tuple[str, ...] = ()
    codes: tuple[RegionCodes, ...] | None = None

    @property
    def outputs(self) -> tuple[str, ...]:
        return (self.output,)

    @property
    def moves(self) -> bool:
        """Whether every value of the output is a value of an input (or filled)."""
        alone = all(region.input is None or _is_move(region) for region in self.regions)
        return self.reduction == "max" or alone


def _is_move(region: Region) -> bool:
    return [weight for _, weight in region.taps()] == [1.0]


@dataclass(frozen=True, eq=False, slots=True)
class ReshapeOp:
    """Reshape, Flatten, Squeeze, Identity, or a change of channel axis: values in ONNX order."""

    name: str
    op: str
    input: str
    output: str
    nodes: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        return (self.output,)

    @property
    def inputs(self) -> tuple[str, ...]:
        return (self.input,)


@dataclass(frozen=True, eq=False, slots=True)
class HostOp:
    """Part of the network that onnxruntime runs: an ONNX model in bytes.

    `inputs` and `outputs` are, in order, the tensors behind the model's graph inputs and outputs
    (whose names may differ).  `nodes` are the ONNX nodes in it, `reasons` say, node by node, why
    the accelerator does not run it.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    model: bytes
    nodes: tuple[str, ...]
    reasons: tuple[str, ...]
    op: str = "host"


MachineOp = CrossbarOp | VectorOp | StencilOp | ReshapeOp
"""What the accelerator runs; it has one output."""

Op = MachineOp | HostOp


@dataclass(frozen=True)
class Graph:
    """A network: operators in topological order, tensors by name.

    `inputs` and `outputs` are the model's own, in the model's order; `quantised` says that it arrives
    quantised, though none of its codes may be the accelerator's.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, Tensor]
    ops: tuple[Op, ...]
    notes: tuple[str, ...] = field(default=())
    quantised: bool = False

    @cached_property
    def _makers(self) -> dict[str, Op]:
        return {name: op for op in self.ops for name in op.outputs}

    @cached_property
    def _readers(self) -> dict[str, list[Op]]:
        readers: dict[str, list[Op]] = {}
        for op in self.ops:
            for name in dict.fromkeys(op.inputs):
                readers.setdefault(name, []).append(op)
        return readers

    @cached_property
    def constants(self) -> tuple[str, ...]:
        """The tensors with a value that operators read."""
        known = ((name, self.tensors.get(name)) for name in self._readers)
        return tuple(name for name, tensor in known if tensor is not None and tensor.value is not None)

    def producer(self, tensor: str) -> Op | None:
        return self._makers.get(tensor)

    def consumers(self, tensor: str) -> tuple[Op, ...]:
        return tuple(self._readers.get(tensor, ()))

    @cached_property
    def _outputs(self) -> frozenset[str]:
        return frozenset(self.outputs)

    def is_output(self, tensor: str) -> bool:
        return tensor in self._outputs

    def feeds_only(self, tensor: str, reader: Op) -> bool:
        """Whether `reader` is all that needs `tensor`: no other operator, no graph output."""
        readers = self.consumers(tensor)
        return not self.is_output(tensor) and len(readers) == 1 and readers[0] is reader

    def network(self) -> nx.DiGraph[str]:
        """Operator names as nodes (attribute `op`), an edge per tensor that links two."""
        graph: nx.DiGraph[str] = nx.DiGraph()
        made = {name: op.name for op in self.ops for name in op.outputs}
        for op in self.ops:
            graph.add_node(op.name, op=op)
        for op in self.ops:
            for name in op.inputs:
                if name in made:
                    graph.add_edge(made[name], op.name, tensor=name)
        return graph
