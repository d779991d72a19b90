"""The verifier: a program that verifies never crashes an engine.

It proves, without running anything, what docs/ISA.md lists under *Rules*.  The parts:
declarations (`declared`), the table's signatures (`signature`), addresses (`addresses`), bounds
of products and values (`products`, `values`), and the walk through the code (`code`).
"""

from __future__ import annotations

from isa.analysis import instruction_sizes
from isa.parser import MAX_LOOPS
from isa.program import Loop, Node, Program
from isa.verifier.code import CodeCheck
from isa.verifier.declared import check_declarations
from isa.verifier.facts import Facts
from isa.verifier.scope import depth


def verify(program: Program, *, contents: bool = True) -> None:
    """Raise ProgramError with every error of `program`; return where there is none.

    Errors in declarations hide those in code.  With `contents=False` the text is checked
    without its data file: names that may stand there are believed, weights may be all that
    their type allows, and what depends on other arrays is not checked.
    """
    facts = Facts(program, contents)
    check_declarations(facts)
    for layer in program.layers:
        if depth(layer.body, MAX_LOOPS + 1) > MAX_LOOPS:
            facts.error(layer, f"more than {MAX_LOOPS} loops inside one another")
    facts.report.raise_if_any()
    CodeCheck(facts).run()
    facts.report.raise_if_any()
    if _shares_objects(program):
        try:
            instruction_sizes(program)
        except ValueError as error:
            facts.problem(str(error), "build an object for each place")
    facts.report.raise_if_any()


def _shares_objects(program: Program) -> bool:
    """Does one Instruction object stand in two places?  Parsed programs have none."""
    seen: set[int] = set()
    open_: list[Node] = [node for layer in program.layers for node in layer.body]
    while open_:
        node = open_.pop()
        if id(node) in seen:
            return True
        seen.add(id(node))
        if isinstance(node, Loop):
            open_ += node.body
    return False
