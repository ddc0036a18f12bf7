"""django-dbsemaphore, as a contestant in a process of its own: see python.rs, which starts it.

    django_peer.py make URL NAME TICKETS ..            tables and semaphores
    django_peer.py rate URL HOW NAME granted|refused   for each line, of so many microseconds: turns, and the seconds they took
    django_peer.py worker URL NUMBER HOLD              for each such line: how long it held tickets, and how long each wait was
"""

import sys
import time
from urllib.parse import parse_qs, unquote, urlsplit

import django
from django.conf import settings


def configure(url):
    parts = urlsplit(url)
    query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
    settings.configure(
        INSTALLED_APPS=["dbsemaphore"],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.postgresql",
                "NAME": unquote(parts.path.lstrip("/")),
                "HOST": query["host"],
                "PORT": query["port"],
                "USER": query["user"],
            }
        },
    )
    django.setup()


def low_level(name, work):
    from django.db import transaction
    from dbsemaphore import semaphore

    with transaction.atomic():
        ticket = semaphore.acquire(name)
        if ticket is not None:
            work()
        return ticket is not None


def context_manager(name, work):
    from dbsemaphore.contextmanager import semaphore_ticket

    with semaphore_ticket(name) as ticket:
        if ticket is not None:
            work()
        return ticket is not None


HOW = {"low-level": low_level, "context-manager": context_manager}


def make(*pairs):
    from django.core.management import call_command
    from dbsemaphore import semaphore

    call_command("migrate", verbosity=0)
    for name, tickets in zip(pairs[::2], pairs[1::2]):
        semaphore.make(name, int(tickets))


def times():
    """Those that this process is told to work for, in seconds."""
    for line in sys.stdin:
        yield int(line) / 1e6


def rate(how, name, expected):
    turn = HOW[how]
    for limit in times():
        turns, began, elapsed = 0, time.monotonic(), 0.0
        while elapsed < limit:
            assert turn(name, lambda: None) == (expected == "granted")
            turns += 1
            elapsed = time.monotonic() - began
        print(turns, elapsed, flush=True)


class Dice:
    """The same as those of the other workers."""

    def __init__(self, number):
        self.state = int(number) + 1

    def about(self, mean):
        self.state = (self.state * 6364136223846793005 + 1) % 2**64
        return mean * (0.5 + (self.state >> 33) / 2**31)


def worker(number, hold):
    dice, mean = Dice(number), int(hold) / 1e6
    low_level("x", lambda: None)
    print("ready", flush=True)
    for limit in times():
        held, waits = 0.0, []
        end = time.monotonic() + limit
        while (asked := time.monotonic()) < end:
            length = dice.about(mean)

            def work():
                nonlocal held
                got = time.monotonic()
                waits.append(got - asked)
                time.sleep(length)
                held += min(time.monotonic() - got, max(end - got, 0))

            while not low_level("x", work):
                time.sleep(0.01)
        print(*(int(each * 1e6) for each in [held, *waits]), flush=True)


if __name__ == "__main__":
    what, url, *words = sys.argv[1:]
    configure(url)
    {"make": make, "rate": rate, "worker": worker}[what](*words)
