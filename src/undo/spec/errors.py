"""The kinds of failure a user meets. Everything else is a defect of ours and keeps its traceback."""


class UserError(Exception):
    """The user's input is wrong. The message says what, where, and the next step, in one line; exit code 2."""


class NotApplicable(UserError):
    """What was asked for does not fit this family of models. An attack is then skipped, with this as its reason."""


class StudyFailed(Exception):
    """Stages failed without which there is nothing to hand over. The message names them, one to a line; exit code 1."""


class TrainingDiverged(Exception):
    """A loss or gradient stopped being finite. Carries the step (from 1) and the learning rate at which it did."""

    def __init__(self, step: int, learning_rate: float, what: str) -> None:
        super().__init__(f"{what} is not finite at step {step:,} (learning rate {learning_rate:.3g}); lower it")
        self.step, self.learning_rate = step, learning_rate
