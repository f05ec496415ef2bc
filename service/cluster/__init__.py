"""The service on a cluster: the same model server and app."""
