"""What SARIF 2.1.0 (OASIS, section 3) asks of the objects that onnxlrp writes, as a JSON schema: what is required, the
types and the enumerated words. Properties beyond these would be allowed by SARIF; here they are mistakes."""

from __future__ import annotations

from typing import Any

TEXT, LEVEL = {"type": "string", "minLength": 1}, {"enum": ["none", "note", "warning", "error"]}


def closed(required: Any, **properties: Any) -> dict[str, Any]:
    """An object of these properties and no others, the first of them required."""
    names = required.split()
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}


def many(item: Any) -> dict[str, Any]:
    return {"type": "array", "items": item}


MESSAGE = closed("text", text=TEXT)
LOCATION = closed("uri", uri={"type": "string", "pattern": r"^[A-Za-z0-9_.!~*'();/?:@&=+$,%-]+$"})
REGION = closed("startLine", startLine={"type": "integer", "minimum": 1})
PHYSICAL = closed("artifactLocation", artifactLocation=LOCATION, region=REGION)
RULE = closed("id", id=TEXT, name=TEXT, shortDescription=MESSAGE, defaultConfiguration=closed("level", level=LEVEL))
RESULT = closed(
    "message ruleId",
    ruleId=TEXT,
    ruleIndex={"type": "integer", "minimum": -1},
    kind={"enum": ["notApplicable", "pass", "fail", "review", "open", "informational"]},
    level=LEVEL,
    message=MESSAGE,
    locations=many(closed("physicalLocation", physicalLocation=PHYSICAL)),
    partialFingerprints={"type": "object", "additionalProperties": TEXT},
)
NOTIFICATION = closed("message", level=LEVEL, message=MESSAGE, associatedRule=closed("id", id=TEXT))
INVOCATION = closed(
    "executionSuccessful", executionSuccessful={"type": "boolean"}, toolConfigurationNotifications=many(NOTIFICATION)
)
ARTIFACT = closed(
    "location",
    location=LOCATION,
    roles=many({"enum": ["analysisTarget", "attachment", "resultFile"]}),
    hashes={"type": "object", "additionalProperties": TEXT},
)
DRIVER = closed("name", name=TEXT, version=TEXT, rules=many(RULE))
RUN = closed(
    "tool",
    tool=closed("driver", driver=DRIVER),
    invocations=many(INVOCATION),
    artifacts={**many(ARTIFACT), "uniqueItems": True},
    results=many(RESULT),
)
SCHEMA = closed("version runs", **{"$schema": TEXT}, version={"const": "2.1.0"}, runs=many(RUN))
