"""What a run used, as a bill of materials (CycloneDX 1.6): every installed package, the models and the dataset.

WORK_DIR/sbom/DIGEST.json, named by its content, so that runs of one installation share a file; `run.json` names it.
"""

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib import metadata
from uuid import UUID

from tasks.artifacts import Artifact
from tasks.links import replace_text
from tasks.store import Store

# What of a run is a component: names of its artifacts, with what CycloneDX calls them.
_PARTS = {"base": "machine-learning-model", "embedder": "machine-learning-model", "dataset": "data"}


def write_sbom(store: Store, artifacts: Mapping[str, Artifact]) -> str:
    """Write the bill of materials of a run that gave these artifacts.

    Returns:
        Its path below the work directory.
    """
    text = _bill(artifacts)
    path = store.work_dir / "sbom" / f"{hashlib.sha256(text.encode()).hexdigest()[:32]}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        replace_text(path, text)
    return str(path.relative_to(store.work_dir))


def _bill(artifacts: Mapping[str, Artifact]) -> str:
    """The same installation and the same artifacts give the same text."""
    from cyclonedx.contrib.license.factories import LicenseFactory
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    licenses = LicenseFactory()
    components = []
    for package in metadata.distributions():
        about = package.metadata
        name = about["Name"]
        if not name or not package.version:  # what a removal that was cut short leaves in site-packages
            continue
        said = next((about[key] for key in ("License-Expression", "License") if key in about), "")
        components.append(
            Component(
                name=name,
                version=package.version,
                bom_ref=f"{name}=={package.version}",
                purl=PackageURL("pypi", name=name.lower().replace("_", "-"), version=package.version),
                licenses=[licenses.make_from_string(said)] if said and "\n" not in said else [],
            )
        )
    for part, kind in _PARTS.items():
        if part in artifacts:
            found = artifacts[part]
            components.append(Component(name=found.kind, version=found.digest, bom_ref=part, type=ComponentType(kind)))
    # Neither the hour nor a random number: both would make each run's bill another one.
    bom = Bom(components=components, metadata=BomMetaData(timestamp=datetime(2000, 1, 1, tzinfo=UTC)))
    bom.serial_number = UUID(int=0)
    return str(JsonV1Dot6(bom).output_as_string(indent=1)) + "\n"
