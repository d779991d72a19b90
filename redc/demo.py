"""`make demo`: a trained face generator on crossbars, beside the same network in float.

    python -m redc.demo [DIRECTORY]       # needs Pillow: pip install "redc[demo]"

Compiles dcgan_face64 to assembly, runs the program that was written, compares it with onnxruntime
layer by layer, and draws both sets of faces.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from runtime.progress import progress

NAME = "dcgan_face64"
FACES = 8
CALIBRATION, SHOWN = 0, 1  # seeds of default_rng
SAMPLES = 64
AMPLIFY = 16

Faces = npt.NDArray[np.float32]  # [count, 3, 64, 64] in [-1, 1]


def in_float(model: Any, z: Faces) -> Faces:
    """The faces onnxruntime makes."""
    import onnxruntime

    session = onnxruntime.InferenceSession(model.SerializeToString())
    faces: Faces = session.run(["image"], {"z": z})[0]
    return faces


def draw(path: Path, wanted: Faces, got: Faces, sqnr: float) -> None:
    """Write the faces of both sides and their difference, amplified, as a PNG."""
    from redc.picture import grid, to_bytes

    difference = np.abs(np.asarray(got, np.float64) - wanted) * AMPLIFY - 1
    picture = grid(
        f"{NAME}: {FACES} faces from default_rng({SHOWN}), {sqnr:.1f} dB SQNR",
        [
            ("onnxruntime", "float32", to_bytes(wanted)),
            ("crossbars", "8-bit weights\n8-bit inputs", to_bytes(got)),
            ("difference", f"absolute, times {AMPLIFY}", to_bytes(difference)),
        ],
    )
    picture.save(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demo; 0 if every layer was integer-exact, 1 if not, 2 if it could not run."""
    parser = argparse.ArgumentParser(prog="python -m redc.demo", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("directory", nargs="?", type=Path, default=Path("build/demo"))
    directory: Path = parser.parse_args(arguments).directory
    try:
        import PIL  # noqa: F401  (fail before the work, not after it)
    except ImportError:
        print('error: the demo draws with Pillow: pip install "redc[demo]"', file=sys.stderr)
        return 2

    import isa
    import redc
    import runtime
    from redc.shelf import needed_shelf

    directory.mkdir(parents=True, exist_ok=True)
    listing, faces_file = directory / f"{NAME}.red", directory / "faces.png"
    models = needed_shelf()
    model = models.load(NAME)
    inputs = models.samples(NAME, FACES, SHOWN)
    assert inputs is not None  # the zoo knows this model
    z = inputs["z"]

    with progress(f"compiling {NAME}"):
        program = redc.compile(
            model,
            target="red-65nm",
            mapping="pixel-wise",
            weight_bits=8,
            input_bits=8,
            shapes={"z": z.shape},
            calibrate=models.samples(NAME, SAMPLES, CALIBRATION),
        )
        isa.save(program, listing)
    with progress("running the program"):
        got = runtime.load(isa.load(listing)).run({"z": z}).outputs["image"]
    with progress("comparing with onnxruntime"):
        report = redc.diff(model, program=program, inputs={"z": z})
        wanted = in_float(model, z)
    draw(faces_file, wanted, got, report.outputs[0].sqnr_db)

    print(report.table())
    print()
    print(f"program  {listing}")
    print(f"faces    {faces_file}")
    return 0 if report.passed else 1


if __name__ == "__main__":
    raise SystemExit(main())
