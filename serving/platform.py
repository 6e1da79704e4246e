"""All that a request may need, made once per worker process; tests make it with their own settings."""

from __future__ import annotations

import threading

from bookworks.settings import Settings
from serving.accounts import Accounts
from serving.auth import Passwords
from serving.bundles import BundleKeeper
from serving.database import Database
from serving.decisions import Acknowledged, Background
from serving.dismissals import DismissedAuthors, Restorer
from serving.history import History
from serving.kept import Keeper
from serving.keys import KeyRing, Keys
from serving.sessions import Sessions
from serving.spool import Intake


class Platform:
    """The outside world of the service."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.bundles = BundleKeeper(settings)
        self.history = History(settings)
        self.database = Database(settings)
        self.accounts = Accounts(self.database)
        self.sessions = Sessions(settings, self.database)
        self.keys = KeyRing(settings, Keys(self.database))
        self.dismissed_authors = DismissedAuthors(self.database)
        self._restorer = Restorer(self.dismissed_authors, self.history)
        self.passwords = Passwords()
        self.decisions = Background(settings)
        self.kept = Keeper(settings)
        self.stream = Acknowledged(settings)
        self.intake = Intake(settings, self.stream)

    def start(self) -> None:
        """Begin following the champion and sending; waits for nothing."""
        self.bundles.start()
        self.keys.start()
        self._restorer.start()
        self.decisions.start()
        self.kept.start()
        self.intake.start()
        threading.Thread(target=self.stream.warm_up, name="stream", daemon=True).start()

    def close(self) -> None:
        """Send what waits and end the connections."""
        self.decisions.close()
        self.kept.close()
        self.intake.close()
        self.stream.close()
        self.bundles.close()
        self.keys.close()
        self._restorer.close()
        self.database.close()
        self.history.close()
