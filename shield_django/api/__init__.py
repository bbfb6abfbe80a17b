"""The REST API of the control plane (CONTRACT §7): DRF views over ``engine.sync``.

Every class that DRF would take from the host's settings is set here, so that they change nothing.
"""
