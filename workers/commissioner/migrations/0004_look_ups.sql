-- To the planner, a table that was never analysed has few rows of any tenant, and of indexes that seem alike it takes any: an
-- order was looked up among all orders of its program. So what a row is found by leads each index but the primary key.
drop index commissioner.partners_by_program;
create index partners_by_program on commissioner.partners (program, tenant, registered_at, partner_id);
alter table commissioner.partners drop constraint partners_tenant_program_email_key_key;
alter table commissioner.partners add constraint partners_email_key unique (program, email_key, tenant);
drop index commissioner.orders_by_customer;
create index orders_by_customer on commissioner.orders (customer_id, tenant, program);
