"""Fidelity analog in the fast engine against onnxruntime's float time: floats in, floats out.

    python tests/bench/bench_analog.py [--runs 10] [--adc 8] [--encoding ...] [NAME ...]

8-bit weights and inputs, 2-bit cells, one-bit DACs, arrays of 128 x 128; the devices of target
isaac: programming variation, on/off ratio, read noise on every conversion.  Both sides run the
same layer in the same process, in turn, on all cores; the figure is the ratio of medians.  `load`
holds the sampling of the cells, once for a machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import time

import numpy as np
import onnxruntime
from bench_adc import BLOCK, ENCODINGS, MACHINE
from measuring import float_session, measure, prepared

import redc
import runtime
from isa.targets import device_of, load_target

NAMES = ("GAN_Deconv1", "GAN_Deconv3", "FCN_Deconv2")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--mapping", default="pixel-wise")
    parser.add_argument("--adc", type=int, nargs="+", default=[8])
    parser.add_argument("--encoding", nargs="+", default=ENCODINGS)
    given = parser.parse_args()
    device = device_of(load_target("isaac"))
    print(f"numpy {np.__version__}, onnxruntime {onnxruntime.__version__}, mapping {given.mapping}")
    print(
        f"{'layer':<14} {'encoding':<12} adc {'analog':>10} {'float':>10} {'ratio':>6} {'load':>7} "
        f"{'conversions':>12} {'ns each':>7}"
    )
    for name in given.names:
        model, inputs = prepared(name)
        shapes = {key: value.shape for key, value in inputs.items()}
        program = redc.compile(model, calibrate=inputs, shapes=shapes, target="isaac", mapping=given.mapping)
        session = float_session(model)
        for encoding, adc in itertools.product(given.encoding, given.adc):
            target = dataclasses.replace(program.target, **MACHINE, encoding=encoding, adc=adc)
            built = dataclasses.replace(program, target=target)
            start = time.perf_counter()
            loaded = runtime.load(built, fidelity="analog", device=device, verify=False)
            took = time.perf_counter() - start
            ours, theirs = measure(loaded, session, inputs, given.runs, BLOCK)
            conversions = loaded.run(inputs).total.conversions
            print(
                f"{name:<14} {encoding:<12} {adc:>3} {ours * 1e3:>7.1f} ms {theirs * 1e3:>7.3f} ms "
                f"{ours / theirs:>6.1f} {took:>5.1f} s {conversions:>12,} {ours / conversions * 1e9:>7.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
