"""Both drivers of the loop behind one name, so that what is promised of one is tested of both."""

import pytest
from conversing import converse_async, converse_sync


@pytest.fixture(params=[converse_sync, converse_async], ids=["sync", "async"])
def converse(request):
    return request.param


@pytest.fixture(params=[False, True], ids=["plain", "streamed"])
def stream(request):
    return request.param
