"""Machines that are sold under one name and are not one: modules of Jetsons, cards with one GPU.

Part numbers are NVIDIA's, as in the device tree's `compatible`:
https://docs.nvidia.com/jetson/archives/r36.4.3/DeveloperGuide/IN/QuickStart.html, and of older modules
https://github.com/rbonghi/jetson_stats. PCI ids are those of https://pci-ids.ucw.cz. What differs is from the
sources of the targets' own files; the T4000's from https://technical.city/en/video/Iris-Plus-Graphics-G4-vs-Jetson-T4000.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """One of several."""

    code: str  # part number and SKU of a module, or vendor and device of a PCI card
    title: str
    memory_gb: int  # of the module, or of the card itself
    targets: tuple[str, ...]  # that go by the same name
    differs: str = ""  # from those targets, in what figures depend on; empty: it is what their figures hold for


# One module, set up by firmware for one power or for more.
ORIN_NANO, ORIN_NANO_SUPER = "jetson-orin-nano", "jetson-orin-nano-super"
_NANOS = (ORIN_NANO, ORIN_NANO_SUPER)

MODULES = (
    Variant("p3448-0000", "Jetson Nano 4GB", 4, ("jetson-nano",)),
    Variant("p3448-0002", "Jetson Nano 4GB", 4, ("jetson-nano",)),
    Variant("p3448-0003", "Jetson Nano 2GB", 2, ("jetson-nano",)),
    Variant("p3310-1000", "Jetson TX2", 8, ("jetson-tx2",)),
    Variant("p3489-0888", "Jetson TX2 4GB", 4, ("jetson-tx2",)),
    Variant("p3489-0000", "Jetson TX2i", 8, ("jetson-tx2",), "other clocks, for industrial use"),
    Variant("p3636-0001", "Jetson TX2 NX", 4, ("jetson-tx2",), "slower memory"),
    Variant("p3668-0000", "Jetson Xavier NX 8GB", 8, ("jetson-xavier-nx",)),
    Variant("p3668-0001", "Jetson Xavier NX 8GB", 8, ("jetson-xavier-nx",)),
    Variant("p3668-0003", "Jetson Xavier NX 16GB", 16, ("jetson-xavier-nx",)),
    Variant("p2888-0001", "Jetson AGX Xavier", 32, ("jetson-agx-xavier",)),  # of every developer kit, with 16 GB too
    Variant("p2888-0003", "Jetson AGX Xavier 32GB", 32, ("jetson-agx-xavier",)),
    Variant("p2888-0004", "Jetson AGX Xavier 32GB", 32, ("jetson-agx-xavier",)),
    Variant("p2888-0005", "Jetson AGX Xavier 64GB", 64, ("jetson-agx-xavier",)),
    Variant("p2888-0006", "Jetson AGX Xavier 8GB", 8, ("jetson-agx-xavier",), "a smaller GPU and fewer CPUs"),
    Variant("p2888-0008", "Jetson AGX Xavier Industrial", 32, ("jetson-agx-xavier",), "lower clocks"),
    Variant("p3767-0003", "Jetson Orin Nano 8GB", 8, _NANOS),
    Variant("p3767-0005", "Jetson Orin Nano 8GB", 8, _NANOS),  # the developer kit's
    Variant("p3767-0004", "Jetson Orin Nano 4GB", 4, _NANOS, "4 SMs in place of 8, and half the memory bandwidth"),
    Variant("p3767-0000", "Jetson Orin NX 16GB", 16, ("jetson-orin-nx",)),
    Variant(
        "p3767-0001", "Jetson Orin NX 8GB", 8, ("jetson-orin-nx",), "6 CPUs in place of 8, and a slower GPU (765 MHz)"
    ),
    Variant("p3701-0000", "Jetson AGX Orin of the developer kit", 32, ("jetson-agx-orin",)),  # GPU of the 64GB
    Variant("p3701-0005", "Jetson AGX Orin 64GB", 64, ("jetson-agx-orin",)),
    Variant("p3701-0004", "Jetson AGX Orin 32GB", 32, ("jetson-agx-orin",), "14 SMs of 930 MHz in place of 16 of 1300"),
    Variant("p3701-0008", "Jetson AGX Orin Industrial", 64, ("jetson-agx-orin",), "lower clocks"),
    Variant("p3834-0008", "Jetson T5000", 128, ("jetson-thor",)),
    Variant("p3834-0000", "Jetson T4000", 64, ("jetson-thor",), "12 SMs in place of 20"),
)
CARDS = (
    Variant("10de:2182", "GTX 1660 Ti", 6, ("gtx1660ti",)),
    Variant(
        "10de:2191", "GTX 1660 Ti Mobile", 6, ("gtx1660ti",), "lower clocks (1590 MHz in place of 1770) and less power"
    ),
)
VARIANTS = (*MODULES, *CARDS)
