from __future__ import annotations

import numpy as np
import pytest

from toolchain.errors import ModelError
from toolchain.network.convert import convert


def test_windows_of_another_shape_are_refused(trained) -> None:
    with pytest.raises(ModelError) as error:
        convert(trained.model, np.zeros((4, 28, 1), np.float32))

    assert str(error.value) == (
        f"{trained.model}: reads windows of 6 x 2, but the representative windows are 28 x 1. Run "
        "`shelfcast train` again."
    )
