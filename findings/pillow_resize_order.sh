#!/usr/bin/env bash
# Pillow 13 resizes rows before columns where a picture is tall or gets much wider; earlier versions never do.
#
# Guess: a resize by a filter gives the same pixels in every version; columns are resized first, then rows.
# Seen: pixels are rounded to 8 bits in between, so the order shows. Of a picture of 200 x 60 halved by Pillow 13.0.0 about
# 18 % of the pixels differ from Pillow 12.3.0's, of 300 x 300 brought to 100 x 600 about 20 %; of 120 x 60 none.
# For users of onnxlrp: pictures are resized as the Pillow that is installed does it, like the libraries around it; exported
# explainers of pictures take columns first, as all versions did that models were trained with.
# Packages: pillow==12.3.0, pillow==13.0.0, numpy==2.4.6
set -euo pipefail
here=$(mktemp -d)
trap 'rm -rf "$here"' EXIT
cat > "$here/resize.py" <<'PY'
import sys
import numpy as np
from PIL import Image

picture = np.random.default_rng(0).integers(0, 256, (300, 300), dtype=np.uint8)
for n, (height, width, size) in enumerate([(200, 60, (30, 100)), (300, 300, (600, 100)), (120, 60, (30, 60))]):
    whole = Image.fromarray(picture[:height, :width])
    np.save(f"{sys.argv[1]}.{n}.npy", np.asarray(whole.resize(size, Image.Resampling.BILINEAR)))
    steps = whole.resize((size[0], height), Image.Resampling.BILINEAR).resize(size, Image.Resampling.BILINEAR)
    np.save(f"{sys.argv[1]}.{n}.steps.npy", np.asarray(steps))
PY
for version in 12.3.0 13.0.0; do
  python3 -m venv "$here/$version"
  "$here/$version/bin/pip" install -q "pillow==$version" numpy==2.4.6
  "$here/$version/bin/python" "$here/resize.py" "$here/$version"
done
"$here/13.0.0/bin/python" - "$here" <<'PY'
import sys
import numpy as np

shares = []
for n in range(3):
    old, new = (np.load(f"{sys.argv[1]}/{version}.{n}.npy") for version in ("12.3.0", "13.0.0"))
    steps = [np.load(f"{sys.argv[1]}/{version}.{n}.steps.npy") for version in ("12.3.0", "13.0.0")]
    shares.append(float((old != new).mean()))
    print(f"picture {n}: {100 * shares[-1]:.1f} % of the pixels differ between the versions")
    assert all(np.array_equal(old, step) for step in steps)  # one axis after the other is what 12.3.0 does
assert shares[0] > 0.1 and shares[1] > 0.1 and shares[2] == 0
PY
