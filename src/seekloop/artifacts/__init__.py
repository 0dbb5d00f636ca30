"""Files and folders that last: the one writer, claimed folders, shards."""
