"""What `main.py doctor` found."""

from __future__ import annotations

from dataclasses import dataclass, field

from commands.terminal import BOLD, colored


@dataclass
class DoctorReport:
    """The state of this host; healthy when nothing that is required is missing."""

    sections: list[tuple[str, list[str]]] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    """What is missing and only some jobs need."""

    @property
    def healthy(self) -> bool:
        return not self.missing

    def text(self) -> str:
        """Format the report for people."""
        shown = [(title, lines) for title, lines in self.sections if lines]
        shown.append(("Missing", self.missing or ["nothing that is needed"]))
        if self.advice:
            shown.append(("Worth having", self.advice))
        return "\n\n".join(
            "\n".join([colored(title, BOLD), *(f"  {line}" for line in lines)]) for title, lines in shown
        )

    def as_dict(self) -> dict[str, list[str]]:
        """Return the sections by their titles, with what is missing and what is worth having."""
        return {**dict(self.sections), "Missing": self.missing, "Worth having": self.advice}
