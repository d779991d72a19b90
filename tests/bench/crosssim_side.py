"""Matrix products through CrossSim, for tests/bench/against_crosssim.py.

CrossSim (Sandia National Laboratories, BSD-3) is no part of redc, and none of its code is here:
`simulator` is imported where it is installed.  Ways to run it:

ideal    no ADC
own      its nearest settings, and nothing else; or a `Setting`, such as a range that it works out
alike    the same arrays with redc's conventions (docs/fidelity.md) wherever it has no setting for
         them: a reference column, two's complement inputs, ties to even

CrossSim weights and sums conversions digitally, as redc does, so a product can be put together
from several of its runs: that is how `alike` works.
"""

from __future__ import annotations

import functools
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from isa.program import Array, IntType, Target


@dataclass(frozen=True, slots=True)
class Product:
    """Whole numbers in float64 [columns, pixels], and the seconds it took to multiply."""

    values: Array
    seconds: float


@dataclass(frozen=True, slots=True)
class Setting:
    """CrossSim's words for an ADC's model, what ranges it, and how an offset is taken off.

    CALIBRATED is a range that is told; GRANULAR and MAX follow from array, cells and inputs.
    `spread` is the standard deviation of what programming misses, as a share of the level.
    """

    model: str = "QuantizerADC"
    ranges: str = "CALIBRATED"
    offset: str = "DIGITAL_OFFSET"
    spread: float = 0.0


def own(
    weights: Array,
    codes: Array,
    types: tuple[IntType, IntType],
    target: Target,
    setting: Setting | None = None,
) -> Product:
    """`weights` [columns, rows] times `codes` [rows, pixels], of these types.

    Rows of an array, cells, encoding, ADC and, where no setting ranges it, lsb are the target's.
    """
    return _run(weights, codes, types, target, setting or Setting())


def ideal(weights: Array, codes: Array, types: tuple[IntType, IntType], target: Target) -> Product:
    """The same without ADCs."""
    return _run(weights, codes, types, target, None)


def alike(
    weights: Array,
    codes: Array,
    types: tuple[IntType, IntType],
    target: Target,
    spread: float = 0.0,
    together: int = 1 << 30,
) -> Product:
    """The same in redc's conventions; `together` columns have one reference column.

    With a spread, of unsigned codes: signed ones are two runs, and would be two machines.
    """
    weight_type, input_type = types
    setting = Setting(_ties_to_even().__name__, spread=spread)
    if input_type.signed:
        # Two's complement: the planes of the code modulo 2^b, of which the top one subtracts.
        bits = input_type.bits
        lines = codes & ((1 << bits) - 1)
        unsigned = (weight_type, IntType(False, bits))
        every = alike(weights, lines, unsigned, target)
        top = alike(weights, lines & (1 << bits - 1), unsigned, target)
        return Product(every.values - 2 * top.values, every.seconds + top.seconds)
    found = _run(weights, codes, types, target, setting)
    if target.encoding == "differential":
        return found
    # CrossSim takes off offset * (sum of the inputs), exactly.  A column whose codes are 1 is a
    # reference column: with that put back, its product is what an ADC of lsb 1 makes of the ones.
    offset = 1 << weight_type.bits - 1
    columns, rows = weights.shape
    ones = np.full((-(-columns // together), rows), 1 - offset)
    reference = _run(ones, codes, types, replace(target, lsb=1), setting)
    inputs = codes.sum(axis=0)
    counted = np.repeat(reference.values, min(together, columns), axis=0)[:columns]
    values = (found.values + offset * inputs) - offset * (counted + offset * inputs)
    return Product(values, found.seconds + reference.seconds)


def _run(
    weights: Array, codes: Array, types: tuple[IntType, IntType], target: Target, setting: Setting | None
) -> Product:
    from simulator import AnalogCore

    parameters = _parameters(*types, target)
    if setting is not None:
        _set(parameters, types[1], target, setting)
    core = AnalogCore(weights.astype(np.float64), parameters)
    inputs = codes.astype(np.float64)
    start = time.perf_counter()
    values = core @ inputs
    return Product(np.asarray(values), time.perf_counter() - start)


def _parameters(weight_type: IntType, input_type: IntType, target: Target) -> Any:
    """Arrays and drivers: bit-sliced weights, bit-serial inputs, no leak."""
    from simulator import CrossSimParameters
    from simulator.parameters.core_parameters import (
        BitSlicedCoreStyle,
        CoreStyle,
        PartitionStrategy,
    )

    parameters = CrossSimParameters()
    core = parameters.core
    core.style = CoreStyle.BITSLICED
    core.weight_bits = weight_type.bits
    core.rows_max = target.rows or 0
    core.cols_max = 0  # every column has conversions of its own: how columns are tiled does not show
    core.bit_sliced.num_slices = -(-weight_type.bits // target.cell)
    differential = target.encoding == "differential"
    core.bit_sliced.style = BitSlicedCoreStyle.BALANCED if differential else BitSlicedCoreStyle.OFFSET
    core.balanced.subtract_current_in_xbar = target.pair == "shared"
    core.mapping.weights.col_partition_strategy = PartitionStrategy.MAX  # its columns are our rows
    largest = (1 << weight_type.bits - 1) - 1
    core.mapping.weights.percentile = None
    core.mapping.weights.min, core.mapping.weights.max = -largest, largest
    inputs, dac = core.mapping.inputs.mvm, parameters.xbar.dac.mvm
    inputs.min, inputs.max = (
        (-input_type.high, input_type.high) if input_type.signed else (0, input_type.high)
    )
    dac.model = "SignMagnitudeDAC" if input_type.signed else "QuantizerDAC"
    dac.bits, dac.signed = input_type.bits, input_type.signed
    dac.input_bitslicing, dac.slice_size = True, target.dac
    parameters.xbar.device.cell_bits = target.cell
    parameters.xbar.device.infinite_on_off_ratio = True
    return parameters


def _set(parameters: Any, input_type: IntType, target: Target, setting: Setting) -> None:
    """One conversion per plane, slice and column; CALIBRATED is the grid of docs/fidelity.md.  Cells.

    CrossSim's cells hold level / (2^cell - 1), so a level step is 1 / (2^cell - 1) on its scale.
    """
    from simulator.parameters.core_parameters import OffsetCoreStyle
    from simulator.parameters.xbar_parameters import ADCRangeLimits

    if setting.spread:
        cells = parameters.xbar.device.programming_error
        cells.enable, cells.model, cells.magnitude = True, "NormalProportionalDevice", setting.spread
    parameters.core.offset.style = OffsetCoreStyle[setting.offset]
    parameters.xbar.adc.mvm.model = setting.model
    adc = parameters.xbar.adc.mvm  # a new object: setting the model replaces it
    pair = target.encoding == "differential" and target.pair == "shared"
    both = pair or input_type.signed  # signs and magnitudes drive lines with both polarities
    low, high = (-(1 << target.adc - 1), (1 << target.adc - 1) - 1) if both else (0, (1 << target.adc) - 1)
    step = target.lsb / ((1 << target.cell) - 1)
    adc.bits, adc.signed, adc.adc_per_ibit = target.adc, both, True
    adc.adc_range_option = ADCRangeLimits[setting.ranges]
    adc.calibrated_range = [[low * step, high * step]] * parameters.core.bit_sliced.num_slices


@functools.cache  # keeps it: CrossSim looks among the subclasses that are alive
def _ties_to_even() -> type:
    """An ADC that CrossSim finds by its name, as the readme of its ADCs describes.

    With cells of two bits CrossSim adds thirds in floating point: a sum half-way between two
    codes is a hair above or below, and where it goes is chance.  This one makes whole level
    steps of the sum first, and whole numbers have their ties to even.
    """
    from simulator.circuits.adc.quantizer_adc import QuantizerADC

    class TiesToEven(QuantizerADC):  # type: ignore[misc]  # CrossSim has no types
        def convert(self, vector: Array) -> Array:
            steps = (1 << int(self.Wbits_slice)) - 1
            lsb = round(self.range * steps / (self.levels - 1))
            low = round(self.min * steps / lsb)
            codes = np.rint(np.rint(vector * steps) / lsb).clip(low, low + self.levels - 1)
            return np.asarray(codes * lsb / steps)

    return TiesToEven
