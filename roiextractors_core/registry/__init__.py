"""Which formats exist, and which one a source is: declarations, evidence, discovery and detection."""

from ..lazy import import_on_use

__getattr__, __all__ = import_on_use(
    __name__,
    {
        "detection": ("Explanation", "explain"),
        "evidence": (
            *("AllOf", "AnyOf", "Evidence", "Finding", "Hdf5Path", "JsonKey", "Magic", "Member", "Name", "Probe"),
            *("Sibling", "Strength", "TiffTag", "XmlRoot"),
        ),
        "hook": ("hookimpl",),
        "registry": ("PluginRecord", "Registry", "RegistryState", "default_registry"),
        ".settings": ("config_file",),
        "spec": ("FormatSpec", "Match"),
    },
)
