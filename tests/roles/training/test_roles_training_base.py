"""What a training begins from must belong to what was made of the recordings."""

import threading

import pytest
from training_experiments import TrainingExperiments

from core.errors import InvalidRequest
from core.jobs.roles import TRAINER
from roles.runtime.role import JobContext
from roles.runtime.services import WorkerServices
from roles.trainer import Trainer


@pytest.mark.parametrize("stage", ["sovits_train", "gpt_train"])
def test_a_training_refuses_semantic_tokens_of_another_base_of_nano(services: WorkerServices, stage: str) -> None:
    experiments = TrainingExperiments(services)
    experiment = experiments.experiment(version="nano")
    services.call(services.experiments.stages.run, experiment, stage, {})
    lease = services.queue.claim(TRAINER, "trainer-test")
    assert lease is not None
    trainer = Trainer()
    trainer.start(services)

    with pytest.raises(InvalidRequest, match="tiny were made with another base of nano") as refusal:
        trainer.run(lease.job, JobContext(lease, services, threading.Event()))

    assert refusal.value.hint.startswith("Run semantic_token again")
