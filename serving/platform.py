"""All that a request may need, made once per worker process; tests make it with their own settings."""

from __future__ import annotations

import threading

from bookworks.settings import Settings
from serving.accounts import Accounts
from serving.auth import Passwords
from serving.bundles import BundleKeeper
from serving.decisions import Acknowledged, Background
from serving.history import History
from serving.kept import Keeper


class Platform:
    """The outside world of the service."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.bundles = BundleKeeper(settings)
        self.history = History(settings)
        self.accounts = Accounts(settings)
        self.passwords = Passwords()
        self.decisions = Background(settings)
        self.kept = Keeper(settings)
        self.stream = Acknowledged(settings)

    def start(self) -> None:
        """Begin following the champion and sending; waits for nothing."""
        self.bundles.start()
        self.decisions.start()
        self.kept.start()
        threading.Thread(target=self.stream.warm_up, name="stream", daemon=True).start()

    def close(self) -> None:
        """Send what waits and end the connections."""
        self.decisions.close()
        self.kept.close()
        self.stream.close()
        self.bundles.close()
        self.accounts.close()
        self.history.close()
