"""Checks what is generated from the catalogue with validators that others wrote.

    python contracts.py <schemas folder>

JSON Schemas against the metaschema, OpenAPI against its specification (AsyncAPI is asyncapi.mjs's), and every example and
golden payload, in JSON and in MessagePack, against its schema. What is not found can't be checked, so finding nothing is a failure.
"""

import json
import sys
from pathlib import Path

import msgpack
import yaml
from jsonschema import Draft7Validator, Draft202012Validator, FormatChecker
from openapi_spec_validator import OpenAPIV31SpecValidator
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT7, DRAFT202012

FAULTS = []


def fault(where, what):
    FAULTS.append(f"{where}: {what}")


def some(found, what):
    """What was found, which must be something."""
    found = list(found)
    if not found:
        sys.exit(f"validate-contracts: found no {what}")
    return found


def broken(validator, value):
    """Each way in which value breaks the schema. Values are not repeated."""
    return [f"/{'/'.join(map(str, e.absolute_path))} breaks {e.validator}" for e in validator.iter_errors(value)]


def json_schemas(folder):
    """Every schema by its path below json/, checked against the metaschema, its examples against itself."""
    validators, ids, examples = {}, {}, 0
    for path in some(sorted(folder.rglob("*.json")), f"JSON Schemas in {folder}"):
        name = path.relative_to(folder).as_posix()
        schema = json.loads(path.read_text())
        for error in Draft202012Validator(Draft202012Validator.META_SCHEMA).iter_errors(schema):
            fault(name, f"not a JSON Schema at /{'/'.join(map(str, error.absolute_path))}: {error.message}")
        if schema.get("$schema") != "https://json-schema.org/draft/2020-12/schema":
            fault(name, "is not of draft 2020-12")
        if ids.setdefault(schema.get("$id"), name) != name:
            fault(name, f"has the $id of {ids[schema.get('$id')]}")
        validators[name] = Draft202012Validator(schema, format_checker=FormatChecker())
        for example in schema.get("examples", []):
            examples += 1
            for what in broken(validators[name], example):
                fault(name, f"its example {what}")
    some(range(examples), "examples in the JSON Schemas")
    print(f"json/: {len(validators)} JSON Schemas, {examples} examples")
    return validators


def golden_payloads(folder, validators):
    """Every payload of a version that still has a schema keeps to it, in both encodings."""
    checked, older = 0, 0
    for path in some(sorted([*folder.rglob("*.json"), *folder.rglob("*.msgpack")]), f"golden payloads in {folder}"):
        name = path.relative_to(folder).as_posix()
        contract, version, _case, encoding = path.name.split(".")
        validator = validators.get(f"{path.parent.name}/{contract}.{version}.json")
        payload = json.loads(path.read_text()) if encoding == "json" else msgpack.unpackb(path.read_bytes())
        if validator is None:
            # Its schema is not generated any more; that it is still understood is checked by cargo test.
            older += 1
            continue
        checked += 1
        for what in broken(validator, payload):
            fault(f"golden/{name}", what)
        if encoding == "msgpack" and payload != json.loads(path.with_suffix(".json").read_text()):
            fault(f"golden/{name}", "says something else than the JSON beside it")
    some(range(checked), "golden payload of today's versions")
    print(f"golden/: {checked} payloads keep to their schemas, {older} of older versions")


def validators_within(document, draft, specification):
    """Makes validators of schemas that refer to other places of the document."""
    registry = Registry().with_resource("urn:document", Resource.from_contents(document, specification))

    def validator(schema):
        absolute = json.loads(json.dumps(schema).replace('"#/', '"urn:document#/'))
        return draft(absolute, registry=registry, format_checker=FormatChecker())

    return validator


def openapi(path):
    """The document is OpenAPI 3.1, and the examples in it keep to the schemas beside them."""
    document = json.loads(path.read_text())
    for error in OpenAPIV31SpecValidator(document).iter_errors():
        fault("openapi.json", f"/{'/'.join(map(str, error.absolute_path))}: {error.message}")
    validator = validators_within(document, Draft202012Validator, DRAFT202012)
    examples = 0

    def walk(value, at):
        nonlocal examples
        if isinstance(value, list):
            for n, below in enumerate(value):
                walk(below, f"{at}/{n}")
        if not isinstance(value, dict):
            return
        # A media type or a parameter: a schema with an example beside it.
        if isinstance(value.get("schema"), dict):
            given = [value["example"]] if "example" in value else []
            given += [example["value"] for example in value.get("examples", {}).values()]
            for example in given:
                examples += 1
                for what in broken(validator(value["schema"]), example):
                    fault(f"openapi.json{at}", f"its example {what}")
        for key, below in value.items():
            walk(below, f"{at}/{key}")

    walk(document, "")
    operations = [f"{method} {path}" for path, item in document["paths"].items() for method in item]
    some(operations, "operations in openapi.json")
    some(range(examples), "examples in openapi.json")
    print(f"openapi.json: OpenAPI {document['openapi']}, {len(operations)} operations, {examples} examples")


def asyncapi(path):
    """The examples of messages keep to the payloads' schemas, which are of draft 07."""
    document = yaml.safe_load(path.read_text())
    validator = validators_within(document, Draft7Validator, DRAFT7)
    examples = 0
    for name, message in document["components"]["messages"].items():
        for example in message.get("examples", []):
            examples += 1
            for what in broken(validator(message["payload"]), example["payload"]):
                fault(f"asyncapi.yaml, message {name}", f"its example {what}")
    some(range(examples), "examples in asyncapi.yaml")
    print(f"asyncapi.yaml: {examples} examples")


def main():
    root = Path(sys.argv[1])
    validators = json_schemas(root / "json")
    golden_payloads(root / "golden", validators)
    openapi(root / "openapi.json")
    asyncapi(root / "asyncapi.yaml")
    for each in FAULTS:
        print(each, file=sys.stderr)
    sys.exit(1 if FAULTS else 0)


main()
