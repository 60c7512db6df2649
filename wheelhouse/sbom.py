"""The software bill of materials of a wheelhouse: CycloneDX 1.6 JSON, checked against its schema."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.message import Message

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import HashAlgorithm, HashType
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL
from packaging.utils import canonicalize_name


@dataclass(frozen=True)
class Wheel:
    """A wheel of a wheelhouse.

    Args:
        file: its file name.
        sha256: of the file.
        metadata: its core metadata.
        licence: SPDX expression.
        needs: names of the packages that it needs on the target.
    """

    file: str
    sha256: str
    metadata: Message
    licence: str
    needs: Sequence[str]

    @property
    def name(self) -> str:
        """Its normalised name."""
        return str(canonicalize_name(self.metadata["Name"]))

    @property
    def version(self) -> str:
        return str(self.metadata["Version"])


def sbom_text(root: str, wheels: Sequence[Wheel]) -> str:
    """The bill of materials of some wheels.

    Args:
        root: name of the package that the others are there for.
        wheels: all of them.

    Raises:
        ValueError: if what comes out breaks CycloneDX's schema.
    """
    components = {wheel.name: _component(wheel, wheel.name == root) for wheel in wheels}
    bom = Bom(components=[part for name, part in components.items() if name != root])
    bom.serial_number = uuid.uuid5(uuid.NAMESPACE_URL, "\n".join(sorted(wheel.sha256 for wheel in wheels)))
    bom.metadata.component = components[root]
    for wheel in wheels:
        bom.register_dependency(components[wheel.name], [components[name] for name in wheel.needs])
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if error is not None:
        raise ValueError(f"the bill of materials breaks its schema: {error}")
    return text + "\n"


def _component(wheel: Wheel, is_root: bool) -> Component:
    return Component(
        type=ComponentType.APPLICATION if is_root else ComponentType.LIBRARY,
        name=wheel.name,
        version=wheel.version,
        bom_ref=f"{wheel.name}@{wheel.version}",
        purl=PackageURL("pypi", name=wheel.name, version=wheel.version, qualifiers=_qualifiers(wheel)),
        licenses=[LicenseFactory().make_from_string(wheel.licence)],
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=wheel.sha256)],
    )


def _qualifiers(wheel: Wheel) -> Mapping[str, str]:
    return {"file_name": wheel.file}
