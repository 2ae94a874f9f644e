"""What the node says of its studies, asked over HTTP as any other program would."""

from __future__ import annotations

import http.client
import json
from typing import Any

_LIMIT_S = 5.0


def worklist(port: int) -> list[dict[str, Any]]:
    """Return the ranked studies, first to read on top; none while the page cannot answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_LIMIT_S)
    try:
        connection.request("GET", "/api/worklist")
        answer = connection.getresponse()
        if answer.status != http.client.OK:
            return []
        studies: list[dict[str, Any]] = json.loads(answer.read())["studies"]
    except (OSError, http.client.HTTPException, ValueError):
        return []
    finally:
        connection.close()
    return studies
