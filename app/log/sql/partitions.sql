SELECT count(*) FROM partitions
