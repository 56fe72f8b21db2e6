import threading
import time
from contextlib import closing

import numpy as np
import pytest

from ellipsoid.models import batches
from ellipsoid.models.batches import _read, batch_order, epoch_batches


def numbered(n):
    """Make images whose pixels are all the number of the image."""
    return np.broadcast_to(np.arange(n, dtype=np.uint8)[:, None, None, None], (n, 4, 4, 3))


def seen(batches):
    """Give the numbers of the images of each batch that count, in their order."""
    return [batch[weight > 0, 0, 0, 0].tolist() for batch, weight in batches]


def test_each_image_once_in_the_order_of_the_permutation():
    order = np.random.default_rng((7, 2, 3)).permutation(10).tolist()
    assert seen(epoch_batches(numbered(10), 4, 7, 3)) == [order[:4], order[4:8], order[8:]]


def test_the_last_batch_is_filled_up_at_weight_zero():
    *_, (batch, weight) = epoch_batches(numbered(10), 4, 0, 0)
    assert batch.shape == (4, 4, 4, 3)
    assert batch.dtype == np.uint8
    assert weight.dtype == np.float32
    assert weight.tolist() == [1, 1, 0, 0]
    (batch, weight), *none = epoch_batches(numbered(3), 8, 0, 0)
    assert (batch.shape[0], weight.sum(), none) == (8, 3, [])


def test_a_number_of_batches():
    whole = seen(epoch_batches(numbered(10), 4, 0, 0))
    assert seen(epoch_batches(numbered(10), 4, 0, 0, n_batches=2)) == whole[:2]
    assert seen(epoch_batches(numbered(10), 4, 0, 0, n_batches=9)) == whole


def test_rows_give_the_batches_of_a_copy():
    rows = np.array([0, 2, 3, 7, 9, 11])
    chosen = epoch_batches(numbered(12), 4, 5, 1, rows=rows)
    copied = epoch_batches(numbered(12)[rows], 4, 5, 1)
    for (batch, weight), (expected, expected_weight) in zip(chosen, copied, strict=True):
        np.testing.assert_array_equal(batch, expected)
        np.testing.assert_array_equal(weight, expected_weight)


@pytest.mark.parametrize("n", [1, 9, 10, 10_000])
@pytest.mark.parametrize("block", [1, 3, 10])
def test_blocks_hold_each_image_once(n, block):
    settings = {"block": block, "window": 40}
    order = batch_order(n, 0, 0, **settings)
    np.testing.assert_array_equal(np.sort(order), np.arange(n))
    np.testing.assert_array_equal(order, batch_order(n, 0, 0, **settings))
    if n > 1:
        assert (order != batch_order(n, 0, 1, **settings)).any()
        assert (order != batch_order(n, 1, 0, **settings)).any()


def test_a_window_holds_whole_blocks_well_mixed():
    n, block, window = 100_000, 10, 2560
    order = batch_order(n, 0, 0, block=block, window=window)
    windows = [order[start : start + window] for start in range(0, n, window)]
    blocks = [set(rows // block) for rows in windows]
    assert sum(map(len, blocks)) == n // block  # none in two windows: each is read once
    # Within a window and between windows the order is random: no correlation beyond five standard errors.
    assert abs(np.corrcoef(np.arange(window), windows[0])[0, 1]) < 5 / np.sqrt(window)
    means = [rows.mean() for rows in windows[:-1]]
    assert np.std(means) < 2 * (n / np.sqrt(12)) / np.sqrt(window / block)
    # Neighbours in a batch seldom come from one block: 9 of 2,559 others in the window.
    together = np.mean(order[1:] // block == order[:-1] // block)
    assert together < 2 * 9 / 2559


@pytest.fixture
def mapped(tmp_path):
    """200 images of 48 bytes on disk."""
    np.save(tmp_path / "images.npy", numbered(200))
    return np.load(tmp_path / "images.npy", mmap_mode="r")


@pytest.mark.parametrize("rows", [None, np.delete(np.arange(200), [0, 3, 50, 51, 52, 53, 54, 55, 56, 199])])
def test_a_large_memory_map_is_read_by_blocks(mapped, monkeypatch, rows):
    def images_seen(images):
        return np.concatenate(seen(epoch_batches(images, 32, 0, 0, rows=rows))).tolist()

    used = np.arange(200) if rows is None else rows
    plain = used[batch_order(len(used), 0, 0)].tolist()
    assert images_seen(mapped) == plain

    monkeypatch.setattr(batches, "MAX_BYTES_IN_MEMORY", mapped.nbytes - 1)
    monkeypatch.setattr(batches, "_BLOCK_BYTES", 5 * 48)
    monkeypatch.setattr(batches, "_WINDOW_BYTES", 70 * 48)  # two batches
    by_blocks = used[batch_order(len(used), 0, 0, block=5, window=64)].tolist()
    assert by_blocks != plain
    assert images_seen(mapped) == by_blocks
    few = seen(epoch_batches(mapped, 32, 0, 0, rows=rows, n_batches=3))
    assert np.concatenate(few).tolist() == by_blocks[:96]
    # In memory the same images keep the plain order, whatever their size.
    assert images_seen(numbered(200)) == plain


@pytest.mark.parametrize("view", [np.s_[:], np.s_[7:], np.s_[..., :1], np.s_[::-1], np.s_[3:190:2, 1:]])
def test_parts_of_a_memory_map_are_read_as_they_are(mapped, view):
    images = mapped[view]
    rows = np.random.default_rng(0).permutation(len(images))[:40]
    for near in (0, 3, 1000):
        np.testing.assert_array_equal(_read(images, rows, near), np.asarray(images)[rows])


class Slow:
    """Array that tells which batches were asked for, and fails at one of them."""

    def __init__(self, n, fails_at=None):
        self.images, self.asked, self.fails_at = numbered(n), 0, fails_at
        self.changed = threading.Condition()

    def __len__(self):
        return len(self.images)

    def __getitem__(self, index):
        with self.changed:
            self.asked += 1
            self.changed.notify()
        if self.asked == self.fails_at:
            raise OSError("the disk is gone")
        return self.images[index]

    def wait_for(self, count):
        with self.changed:
            return self.changed.wait_for(lambda: self.asked >= count, timeout=10)


def threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("ahead")]


def test_batches_are_ready_ahead_but_no_more_than_asked():
    images = Slow(100)
    with closing(epoch_batches(images, 4, 0, 0, ahead=2)) as loader:
        next(loader)
        assert images.wait_for(3)
        assert len(threads()) == 1
        time.sleep(0.05)  # time enough to gather all of them
        assert images.asked == 3
    assert not threads()


def test_an_error_reaches_the_loop_and_the_thread_ends():
    loader = epoch_batches(Slow(100, fails_at=3), 4, 0, 0)
    next(loader), next(loader)
    with pytest.raises(OSError, match="the disk is gone"):
        next(loader)
    assert not threads()


def test_a_loop_that_is_left_ends_the_thread():
    def interrupted():
        for _ in epoch_batches(numbered(100), 4, 0, 0):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not threads()
