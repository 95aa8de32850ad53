"""Folders of photos in, arrays out.

Readers find the photos, masks and splits of an MVTec tree, a plain folder or a manifest, and of
benchmarks as they are distributed; images decode any file or say why not; framing fits any size into
the network's square and back; splits keep the test photos away from learning; check lists what is
wrong with a dataset; writers make one, in our layout or that of other tools (exchange).
"""

from blemish.data.benchmarks import read_benchmark
from blemish.data.check import Report, check
from blemish.data.exchange import write_coco, write_yolo
from blemish.data.framing import (
    Frame,
    as_tiled,
    blend_tiles,
    cut_tile,
    frame,
    letterbox,
    shrink_mask,
    tile_windows,
)
from blemish.data.images import (
    IMAGE_EXTENSIONS,
    MAX_PIXELS,
    claimed_pixels,
    decode_image,
    decode_mask,
    encode_png,
    image_shape,
    read_image,
    read_mask,
    write_png,
)
from blemish.data.listing import Problem, is_photo, natural_key
from blemish.data.readers import Dataset, read_dataset, read_sample, refuse_inside
from blemish.data.splits import Split, first_third, hold_out, read_split, refuse_test, write_split
from blemish.data.writers import append_manifest, refuse_bad_name, write_sample

__all__ = [
    "IMAGE_EXTENSIONS",
    "MAX_PIXELS",
    "Dataset",
    "Frame",
    "Problem",
    "Report",
    "Split",
    "append_manifest",
    "as_tiled",
    "blend_tiles",
    "check",
    "claimed_pixels",
    "cut_tile",
    "decode_image",
    "decode_mask",
    "encode_png",
    "first_third",
    "frame",
    "hold_out",
    "image_shape",
    "is_photo",
    "letterbox",
    "natural_key",
    "read_benchmark",
    "read_dataset",
    "read_image",
    "read_mask",
    "read_sample",
    "read_split",
    "refuse_bad_name",
    "refuse_inside",
    "refuse_test",
    "shrink_mask",
    "tile_windows",
    "write_coco",
    "write_png",
    "write_sample",
    "write_split",
    "write_yolo",
]
