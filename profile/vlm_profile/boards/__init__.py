"""Boards over SSH, as places where rows are measured."""
