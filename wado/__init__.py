"""Retrieve (WADO-RS): routes → target (parse) → locate → representation (negotiate) → metadata, frames, rendered…"""
