SELECT position FROM partitions WHERE partition = $1
