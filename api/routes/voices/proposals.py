"""Passages of a voice's recordings that are proposed as prompts."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import FileResponse
from typing_extensions import TypedDict

from api.dependencies import Api
from api.http.access import TRAINERS
from api.http.disconnect import while_connected
from api.http.responses import JsonResponse, stored_file_response
from api.services.prompt_proposals import FoundProposals
from core.voices.prompt_proposals import MAX_PROPOSALS, PromptProposal

router = APIRouter(prefix="/voices/{voice}/prompts/proposals", tags=["Voices"], dependencies=[TRAINERS])


class ProposalView(PromptProposal):
    """A passage that is proposed as a prompt."""

    id: str
    audio_url: str
    """Its WAV, until it expires like speech."""


class ProposalsView(TypedDict):
    """The best passages of a voice's recordings, best first."""

    voice_id: str
    source: Literal["segments", "dataset", "file"]
    """`segments` of the training, those of its `dataset`, or an uploaded `file`."""
    items: list[ProposalView]


@router.get("", response_model=ProposalsView)
async def propose_prompts(
    voice: str,
    request: Request,
    api: Api,
    file_id: Annotated[
        str, Query(max_length=64, description="A recording from POST /files, in place of the voice's own ones.")
    ] = "",
    count: Annotated[int, Query(ge=1, le=MAX_PROPOSALS, description="How many passages.")] = 5,
) -> Response:
    """Propose the best passages of 3 to 10 s of what the voice was trained on as prompts, with their transcripts.

    They are ranked by a score from 0 to 1: one clean sentence, said the speaker's usual way. The response takes seconds
    to a minute. To add one, download its `audio_url`, upload it (POST /files) and send it with its text to
    POST /voices/{voice}/prompts. 409 `input_gone` when the voice has no recordings any more: send a `file_id`.
    """
    proposals = await while_connected(request, api.prompt_proposals.propose(voice, count, file_id))
    return JsonResponse(_proposals_view(proposals))


@router.get("/{proposal}/audio", response_class=FileResponse)
async def proposal_audio(voice: str, proposal: str, api: Api) -> Response:
    """Download a passage that was proposed, as a WAV. Supports `Range`."""
    key, missing = await api.prompt_proposals.audio(voice, proposal)
    return await stored_file_response(api.storage, key, "audio/wav", filename=f"{proposal}.wav", missing=missing)


def _proposals_view(proposals: FoundProposals) -> ProposalsView:
    path = f"/api/v1/voices/{proposals.voice_id}/prompts/proposals"
    return {
        "voice_id": proposals.voice_id,
        "source": proposals.result["source"],
        "items": [
            {**proposal, "id": proposals.id(number), "audio_url": f"{path}/{proposals.id(number)}/audio"}
            for number, proposal in enumerate(proposals.result["proposals"])
        ],
    }
