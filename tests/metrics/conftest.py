import pytest

from ellipsoid.metrics import row_pairs


@pytest.fixture(params=[2048, 97], ids=["one block", "blocks that do not divide"])
def block(request, monkeypatch):
    monkeypatch.setattr(row_pairs, "BLOCK", request.param)
