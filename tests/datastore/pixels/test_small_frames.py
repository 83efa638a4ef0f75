"""Frames of every small size, as the data store encodes them, by the decoder that OHIF and Cornerstone use."""

import json
import shutil
import subprocess
from base64 import b64encode
from pathlib import Path

import numpy as np
import pytest

from datastore.pixels.codecs import LOSSLESS, encode_lossless

MODULES = Path(__file__).parents[2] / "service/javascript/node_modules"
CODECS = {"Cornerstone": "@cornerstonejs/codec-openjph", "OHIF 3.13.2": "ohif-codec-openjph"}
"""The decoders of Cornerstone and of OHIF, whose older one stops at more decomposition levels than fit."""

PROGRAM = """
const wrong = [];
require(process.argv[1])().then((codec) => {
  for (const [name, stored, native] of JSON.parse(require("fs").readFileSync(0))) {
    const bytes = Buffer.from(stored, "base64");
    const decoder = new codec.HTJ2KDecoder();
    decoder.getEncodedBuffer(bytes.length).set(bytes);
    decoder.decode();
    if (Buffer.compare(Buffer.from(decoder.getDecodedBuffer()), Buffer.from(native, "base64"))) wrong.push(name);
    decoder.delete();
  }
  process.stdout.write(JSON.stringify(wrong));
});
"""


@pytest.mark.service
@pytest.mark.parametrize("viewer", CODECS)
@pytest.mark.parametrize(("dtype", "samples"), [(np.uint16, 1), (np.int16, 1), (np.uint8, 1), (np.uint8, 3)])
def test_every_size_up_to_64_decodes(viewer: str, dtype: type, samples: int) -> None:
    codec = MODULES / CODECS[viewer] / "dist/openjphjs.js"
    assert codec.is_file(), "please run script/bundle"
    generator, frames = np.random.default_rng(1), []
    for rows in range(1, 65):
        for columns in range(1, 65) if samples == 1 and dtype is np.uint16 else (1, 2, rows, 64):
            shape = (rows, columns) if samples == 1 else (rows, columns, samples)
            info = np.iinfo(dtype)
            pixels = generator.integers(info.min, info.max, shape, dtype)
            stored = encode_lossless(pixels, LOSSLESS["HTJ2K"], transform=samples == 3)
            texts = [b64encode(content).decode() for content in (stored, pixels.tobytes())]
            frames.append((f"{rows} x {columns}", *texts))
    node = shutil.which("node")
    assert node, "node is missing: apt-get install npm"
    command = [node, "-e", PROGRAM, str(codec)]
    done = subprocess.run(command, input=json.dumps(frames), capture_output=True, text=True, timeout=300, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == []
