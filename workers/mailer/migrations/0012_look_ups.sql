-- To the planner, a table that was never analysed has few rows of any batch, and of indexes that seem alike it takes any: each
-- mail of a batch was looked up among all of the batch. So what a row is found by leads each index but the primary key.
drop index mailer.batch_rows_by_address;
create index batch_rows_by_address on mailer.batch_rows (lower(address), tenant, batch_id);
