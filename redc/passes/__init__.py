"""The pipeline, in the order it runs.  Each pass takes a graph and gives a graph."""

from __future__ import annotations

from collections.abc import Callable

from redc.ir.graph import Graph
from redc.passes.absorb import absorb_quantisers
from redc.passes.allocate import allocate_buffers
from redc.passes.check_options import check_options
from redc.passes.compose import compose_functions
from redc.passes.context import Context, Options
from redc.passes.decompose import decompose_kernels
from redc.passes.fold import fold_batchnorm_and_add
from redc.passes.fuse import fuse_activations
from redc.passes.place import place_on_arrays
from redc.passes.quantise import quantise
from redc.passes.schedule import schedule_rounds

Pass = Callable[[Graph, Context], Graph]

PASSES: tuple[tuple[str, Pass], ...] = (
    ("fold", lambda graph, context: fold_batchnorm_and_add(graph)),
    ("fuse", lambda graph, context: fuse_activations(graph)),
    ("absorb", lambda graph, context: absorb_quantisers(graph)),
    ("compose", lambda graph, context: compose_functions(graph)),
    ("quantise", quantise),
    ("decompose", decompose_kernels),
    ("schedule", schedule_rounds),
    ("place", place_on_arrays),
    ("allocate", allocate_buffers),
)

__all__ = ["PASSES", "Context", "Options", "Pass", "check_options"]
