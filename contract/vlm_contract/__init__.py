"""What the stages of vlm-edge hand each other: records, their files, errors. Standard library only."""
