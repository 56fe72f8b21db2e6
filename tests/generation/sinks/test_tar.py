import io
import json
import tarfile

import numpy as np
import pytest
from batches import draws_of, generate, images_of
from helpers import decode
from PIL import Image


def test_tar_shards_hold_a_group_of_members_for_each_row(state, tmp_path):
    generate(state, 25, tmp_path / "x.tar", decode=decode, chunk=10, batch=8, beside=("latents", "gauge"))
    draws = draws_of(state, 25)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "x-000000.tar",
        "x-000001.tar",
        "x-000002.tar",
        "x.tar.json",
    ]
    row = 0
    for path in sorted(tmp_path.glob("*.tar")):
        with tarfile.open(path) as archive:
            members = {member.name: archive.extractfile(member).read() for member in archive}
            keys = [name.partition(".")[0] for name in members]
        for key in dict.fromkeys(keys):
            assert keys.count(key) == 3
            assert int(key) == row
            image = np.asarray(Image.open(io.BytesIO(members[f"{key}.png"])))
            np.testing.assert_array_equal(image, images_of(draws.latents[row : row + 1])[0])
            np.testing.assert_array_equal(
                np.load(io.BytesIO(members[f"{key}.latents.npy"])), draws.latents[row]
            )
            about = json.loads(members[f"{key}.json"])
            assert about == {"row": row, "gauge": float(draws.gauge[row])}
            row += 1
    assert row == 25


@pytest.mark.parametrize(
    ("name", "is_taken"),
    [
        ("x-000002.tar", True),
        ("x-000003.tar", False),  # there are three shards
        ("x-0000002.tar", False),
        ("x-2.tar", False),
        ("y-000002.tar", False),
    ],
)
def test_a_shard_that_is_there_is_not_overwritten(state, tmp_path, name, is_taken):
    (tmp_path / name).write_bytes(b"precious")
    if is_taken:
        with pytest.raises(FileExistsError, match=r"x\.tar, which exists"):
            generate(state, 25, tmp_path / "x.tar", chunk=10)
    else:
        generate(state, 25, tmp_path / "x.tar", chunk=10)
    assert (tmp_path / name).read_bytes() == b"precious"
