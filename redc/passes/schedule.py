"""Pass: choose what a round is, and where every kernel pixel sits."""

from __future__ import annotations

from redc.ir.graph import Graph
from redc.passes.context import AUTO, Context
from redc.passes.mapped import with_tables


def schedule_rounds(graph: Graph, context: Context) -> Graph:
    """Fill the mapping table of every crossbar operator and hold it to the formula.

    Pre: `pixels` are set.  Post: `schedule` is set and checked.
    """
    if context.options.mapping != AUTO:
        return with_tables(graph, {}, context)
    from redc.choose import choose

    return with_tables(graph, choose(graph, context), context)
