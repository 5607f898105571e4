-- To the planner, a table that was never analysed has few rows of any tenant, and of indexes that seem alike it takes any. So
-- what a row is found by leads each index but the primary key.
drop index texter.verifications_recent;
create index verifications_recent on texter.verifications (country, tenant, created_at);
