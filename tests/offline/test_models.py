"""The model catalogue, as the SDK lists it."""

import asyncio
from typing import get_args

import anthropic
import pytest
from anthropic._data.deprecated_models import DEPRECATED_MODELS
from anthropic.types import Model

from memory_demo.offline import Reply, offline_async_client, offline_client
from memory_demo.offline.models import CATALOGUE


def client(**options):
    return offline_client(lambda prompt: Reply(()), **options)


def test_all_models_are_listed_page_by_page():
    pages = list(client(_strict_response_validation=True).models.list(limit=7).iter_pages())
    listed = [model.id for page in pages for model in page.data]
    assert listed == [model.id for model in CATALOGUE]
    assert len(pages) == -(-len(listed) // 7)


def test_a_page_before_a_model_ends_next_to_it():
    ids = [model.id for model in CATALOGUE]
    page = client().models.list(before_id=ids[5], limit=2)
    assert [model.id for model in page.data] == ids[3:5]
    assert page.has_more


def test_models_are_filtered_by_lifecycle():
    assert [model.id for model in client().beta.models.list(lifecycle=["deprecated"])] == [
        "claude-opus-4-5-20251101",
        "claude-sonnet-4-5-20250929",
    ]
    assert list(client().models.list(lifecycle=["retired"])) == []


@pytest.mark.parametrize("limit", [0, 1001])
def test_a_page_has_a_limit(limit):
    with pytest.raises(anthropic.BadRequestError, match="limit"):
        client().models.list(limit=limit)


@pytest.mark.parametrize("model", [model.id for model in CATALOGUE])
def test_every_model_is_described_in_the_sdks_shape(model):
    strict = client(_strict_response_validation=True)
    for info in (strict.models.retrieve(model), strict.beta.models.retrieve(model)):
        assert info.id == model
        assert info.capabilities.context_management.clear_tool_uses_20250919.supported
        assert info.max_tokens >= 64_000


def test_an_alias_is_resolved():
    assert client().models.retrieve("claude-haiku-4-5").id == "claude-haiku-4-5-20251001"


def test_all_models_of_the_sdk_are_there_but_the_one_that_was_retired():
    names = {name for member in get_args(Model) if member is not str for name in get_args(member)}
    known = {name for model in CATALOGUE for name in (model.id, *model.aliases)}
    assert names - known == {"claude-mythos-preview"}


def test_models_the_sdk_calls_deprecated_are_deprecated_or_gone():
    known = {name: model for model in CATALOGUE for name in (model.id, *model.aliases)}
    assert all(known[name].lifecycle == "deprecated" for name in DEPRECATED_MODELS if name in known)


@pytest.mark.filterwarnings("ignore:The model:DeprecationWarning")
@pytest.mark.parametrize(
    "model", ["claude-3-7-sonnet-20250219", "claude-opus-4-0", "claude-mythos-preview", "gpt-5"]
)
def test_retired_and_unknown_models_are_not_found(model):
    with pytest.raises(anthropic.NotFoundError, match=f"model: {model}"):
        client().models.retrieve(model)
    with pytest.raises(anthropic.NotFoundError, match=f"model: {model}"):
        client().messages.create(model=model, max_tokens=1, messages=[{"role": "user", "content": "x"}])


def test_capabilities_say_what_validation_does():
    thinking = client().models.retrieve("claude-sonnet-5-5").capabilities.thinking.types
    assert (thinking.adaptive.supported, thinking.between_tools.supported) == (True, True)
    assert (thinking.disabled.supported, thinking.enabled.supported) == (False, False)


def test_models_are_listed_asynchronously():
    async def run():
        return [
            model.id async for model in offline_async_client(lambda prompt: Reply(())).models.list(limit=5)
        ]

    assert asyncio.run(run()) == [model.id for model in CATALOGUE]
