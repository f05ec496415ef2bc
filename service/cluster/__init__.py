"""The service on engines that others run: the same model server and app on a cluster."""
