"""Events as AWS's services send them, one JSON file each, for `poller invoke --sample NAME`."""
