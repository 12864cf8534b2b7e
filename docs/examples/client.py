"""A small client of the Loandesk API, with nothing but Python's standard library. Copy it and change what you need.

python docs/examples/client.py http://127.0.0.1:8000 ld_your_key
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Iterator
from typing import Any


class Refused(Exception):
    """An error of the API: `problem` is its RFC 9457 document, `errors` the fields that are wrong with what is wrong with each."""

    def __init__(self, problem: dict[str, Any]) -> None:
        super().__init__(f"{problem['title']}: {problem['detail']} (request {problem['request_id']})")
        self.problem = problem
        self.errors = {error["field"]: error["message"] for error in problem.get("errors", [])}

    @property
    def kind(self) -> str:
        """Such as "invalid" or "duplicate-reference"."""
        return self.problem["type"].rstrip("/").rpartition("/")[2]


class Loandesk:
    def __init__(self, address: str, key: str, *, timeout: float = 30.0) -> None:
        self.address = address.rstrip("/")
        self.key = key
        self.timeout = timeout

    def submit(self, application: dict[str, Any], *, wait: bool = False) -> dict[str, Any]:
        """Send one application in; with `wait` the answer holds the score, where there is a model to score with.

        It goes out under a key of its own, and a second time where no answer came: the desk does it once, whichever arrived.
        """
        return self._surely("/api/v1/applications/" + ("?wait=1" if wait else ""), application)

    def submit_many(self, applications: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Send up to 1,000 in; each result has `accepted` and, where it is not, what is wrong."""
        return self._surely("/api/v1/applications/batch/", {"applications": applications})["results"]

    def _surely(self, url: str, body: dict[str, Any]) -> dict[str, Any]:
        key = {"Idempotency-Key": str(uuid.uuid4())}
        for wait in (1.0, 5.0):
            try:
                return self._ask("POST", url, body, key)
            except (urllib.error.URLError, TimeoutError):
                time.sleep(wait)
        return self._ask("POST", url, body, key)

    def application(self, number: int) -> dict[str, Any]:
        return self._ask("GET", f"/api/v1/applications/{number}/")

    def applications(self, **filters: str) -> Iterator[dict[str, Any]]:
        """All that match, page by page: applications(status="open", ordering="submitted_at")."""
        url: str | None = "/api/v1/applications/?" + urllib.parse.urlencode(filters)
        while url:
            page = self._ask("GET", url)
            yield from page["results"]
            url = page["next"]

    def score(self, job: int, *, seconds: float = 30.0) -> dict[str, Any] | None:
        """The prediction of a scoring job, as soon as it is there; None where a person decides without one, or time ran out."""
        deadline = time.monotonic() + seconds
        while True:
            found = self._ask("GET", f"/api/v1/jobs/{job}/")
            if found["state"] in ("done", "failed") or time.monotonic() > deadline:
                return found["prediction"]
            time.sleep(1)

    def decide(self, number: int, *, outcome: str, reason: str, note: str = "", seen_prediction: int | None = None) -> dict[str, Any]:
        body = {"outcome": outcome, "reason": reason, "note": note, "seen_prediction": seen_prediction}
        return self._ask("POST", f"/api/v1/applications/{number}/decision/", body)

    def _ask(self, method: str, url: str, body: dict[str, Any] | None = None, more: dict[str, str] | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json", "Accept": "application/json"}
        request = urllib.request.Request(  # noqa: S310 - the address is the caller's own
            urllib.parse.urljoin(self.address, url),
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers=headers | (more or {}),
        )
        try:
            with urllib.request.urlopen(request, timeout=self.timeout) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(json.load(error)) from None


def main(address: str, key: str) -> None:
    desk = Loandesk(address, key)
    application = desk.submit({"amount": "12500.00", "annual_income": 48000, "debt_to_income": 0.21, "home_ownership": "rent"}, wait=True)
    print(f"Application {application['id']} ({application['external_reference']}): {application['status']}")
    prediction = application["prediction"] or desk.score(application["job"]["id"])
    if prediction is None:
        print("No score yet: no model serves, or a person has to decide without one.")
        return
    print(f"Probability of default {prediction['probability']:.1%}, grade {prediction['grade']}")
    for reason in prediction["reasons"]:
        print(f"  {reason['direction']:7} {reason['text']}")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    try:
        main(sys.argv[1], sys.argv[2])
    except Refused as error:
        sys.exit(str(error))
