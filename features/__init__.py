"""Third room: scans become clips, clips become 400 numbers per backbone and branch.

`features.clips` cuts and scales, `features.backbones` names the networks, `features.extract` does the work.
"""
