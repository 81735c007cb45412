"""Settings of a standby site."""

from __future__ import annotations

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from core.setting_values import CommaList, WebAddress


class StandbySettings(BaseSettings):
    """Probes, switches and drills."""

    standby_main_url: WebAddress = ""
    """Address of the main site that `main.py standby` watches."""
    standby_probe_seconds: float = Field(10.0, gt=0)
    """Seconds between two probes of the main site's readiness; the fourth failure in a row is an alert."""
    standby_probe_timeout_seconds: float = Field(5.0, gt=0)
    """Seconds after which a probe has failed."""
    standby_speech_probe_seconds: float = Field(60.0, ge=0)
    """Seconds between two probes in which the main site speaks a word; 0: it never has to."""
    standby_probe_voice: str = ""
    """Voice that speaks in probes; empty: the default one."""
    standby_api_key: SecretStr = SecretStr("")
    """API key for probes, where one is asked for; it needs `speak` only."""
    standby_automatic: bool = False
    """Whether an alert switches by itself; else a person does, with `main.py standby switch --confirm`."""
    standby_vantage: CommaList = ()
    """Other addresses, `host:port` or URLs separated by commas: when none of them can be reached, it is the probe's own
    network that is down, and nothing is switched."""
    standby_prefetch_seconds: float = Field(60.0, gt=0)
    """Seconds between two fetches of what the main site has backed up."""
    standby_drill_days: float = Field(7.0, ge=0)
    """Days between two drills of `standby watch`; 0: none."""
    standby_fence_command: str = ""
    """Command that ends the main site before another one takes over, such as one of its power supply."""
    standby_start_command: str = ""
    """Command that starts the service here; empty: `main.py serve` in the background."""
    standby_stop_command: str = ""
    """Command that stops it; empty: SIGTERM."""
    standby_dns_command: str = ""
    """Command that changes the name, with SOVITSD_NAME, SOVITSD_ADDRESS and SOVITSD_TTL (examples: deploy/dns)."""
    standby_dns_name: str = ""
    """Name under which the service is reached."""
    standby_dns_ttl: int = Field(60, ge=1)
    """TTL of that name in seconds."""
    standby_address: str = ""
    """Address of this site, for that name."""
    standby_traffic_command: str = ""
    """Command that gives a site a share of the traffic, with SOVITSD_SHARE (per cent of the main site)."""
    standby_shares: CommaList = ("10", "50", "100")
    """Shares in which a return gives the traffic back to the main site."""
    standby_notify_url: WebAddress = ""
    """Webhook for alerts, switches and drills, signed with WEBHOOK_SECRET."""
    standby_mail_command: str = ""
    """Command that mails an alert, with SOVITSD_EVENT and SOVITSD_MESSAGE."""
    standby_main_command: str = ""
    """Command that runs `main.py` on the main site, such as `ssh main sovitsd`; a return needs it."""
