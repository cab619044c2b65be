-- Taken before anything is looked at: from here to the end of the transaction nobody else appends to the partition.
SELECT position FROM partitions WHERE partition = $1 FOR UPDATE
