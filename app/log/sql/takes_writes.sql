-- Not on a standby, nor where default_transaction_read_only is on.
SELECT current_setting('transaction_read_only') = 'off' AS takes_writes
