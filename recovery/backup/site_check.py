"""Whether a restored site is the one that was backed up: its keys, its voices' release ids, how they sound."""

from __future__ import annotations

import asyncio

from core.errors import PermanentError
from core.records import Records
from core.settings import Settings
from core.storage import open_storage
from recovery.backup.manifest import BackupManifest, ChangeBatch, SpokenSentence
from recovery.backup.release_ids import ReleaseRegistry, all_voices, compare_releases
from recovery.backup.site_facts import KEY_SETTINGS, key_fingerprints, processor
from recovery.backup.spoken import (
    SpeakingFailure,
    describe_difference,
    differs_too_much,
    sentences_to_speak,
    speak_sentences,
)
from recovery.backup.steps import StepLog


class SiteDiffers(PermanentError):
    """A restored site that would not sound or sign as the one that was backed up."""

    code = "site_differs"


class SiteCheck:
    """Compares the site of the settings with a backup that was restored there."""

    def __init__(self, settings: Settings, steps: StepLog, *, accept_difference: bool = False) -> None:
        """`accept_difference` turns what differs into warnings."""
        self._settings = settings
        self._steps = steps
        self._accept_difference = accept_difference

    def run(self, manifest: BackupManifest, batches: list[ChangeBatch], *, speak: bool = True) -> None:
        """Check everything, a step each.

        Raises:
            SiteDiffers: keys are missing, or a voice is another release or sounds different.
        """
        with self._steps.step("keys") as step:
            step.detail = self.check_keys(manifest)
        with self._steps.step("registry") as step:
            step.detail = asyncio.run(self.check_registry(manifest, batches))
        if speak:
            with self._steps.step("speech") as step:
                step.detail = asyncio.run(self.check_speech(manifest))

    def check_keys(self, manifest: BackupManifest) -> str:
        """Raise SiteDiffers when a key of the site that was backed up is not here, unless that is accepted."""
        present = key_fingerprints(self._settings)
        problems = []
        for name, expected in manifest.keys.items():
            if present.get(name) != expected:
                state = "another one" if present.get(name) else "missing"
                problems.append(f"the {name} key {expected} is {state} here ({KEY_SETTINGS[name]})")
        self._accept_or_raise(problems, "Copy them from the vault to this site")
        return f"{len(manifest.keys) - len(problems)} of {len(manifest.keys)} keys are here"

    async def check_registry(self, manifest: BackupManifest, batches: list[ChangeBatch]) -> str:
        """Raise SiteDiffers when a release id that is computed anew is not that of the backup, unless accepted."""
        changed = {str(row.key[0]) for batch in batches for row in batch.rows if row.table == "voices"}
        records = Records.from_settings(self._settings)
        try:
            present, problems = await ReleaseRegistry(self._settings).releases(records, open_storage(self._settings))
        finally:
            await records.close()
        expected = [release for release in manifest.releases if release.voice_id not in changed]
        differences = [str(difference) for difference in compare_releases(expected, present)]
        self._accept_or_raise([*problems, *differences], "Bring the parts in line")
        return f"{len(present)} voices"

    async def check_speech(self, manifest: BackupManifest) -> str:
        """Have every voice speak, and compare with the backup.

        Raises:
            SiteDiffers: a voice that spoke does not, or sounds different on the same hardware.
        """
        records = Records.from_settings(self._settings)
        try:
            voices = await all_voices(records)
            requests = await sentences_to_speak(records, open_storage(self._settings), voices)
        finally:
            await records.close()
        expected = {item.voice_id: item for item in manifest.spoken}
        same_hardware = manifest.environment.hardware == processor()
        problems, equal = [], 0
        for outcome in await asyncio.to_thread(lambda: list(speak_sentences(self._settings, requests, {}))):
            before = expected.get(outcome.voice_id)
            if isinstance(outcome, SpeakingFailure):
                message = f"The voice {outcome.voice_id} does not speak: {outcome.message}"
                problems.append(message) if before is not None else self._steps.warn(message)
            elif before is not None:
                equal += self._compare(before, outcome, same_hardware, problems)
        self._accept_or_raise(problems, "Compare the packages of both sites (the backup's manifest lists them)")
        return f"{len(voices)} voices spoke, {equal} of {len(expected)} exactly as in the backup"

    def _compare(
        self, before: SpokenSentence, present: SpokenSentence, same_hardware: bool, problems: list[str]
    ) -> bool:
        """Note how a voice differs, as a problem or as a warning; return whether it is the same."""
        difference = describe_difference(before, present)
        if difference:
            message = f"The voice {present.voice_id} sounds different: {difference}"
            if same_hardware or differs_too_much(before, present):
                problems.append(message)
            else:
                self._steps.warn(f"{message} (other hardware)")
        return not difference

    def _accept_or_raise(self, problems: list[str], remedy: str) -> None:
        if not problems:
            return
        if not self._accept_difference:
            raise SiteDiffers(
                f"This site differs from the one that was backed up: {'; '.join(problems)}.",
                hint=f"{remedy}, and run the same command again; --accept-difference goes past it.",
            )
        for problem in problems:
            self._steps.warn(f"Accepted: {problem}")
