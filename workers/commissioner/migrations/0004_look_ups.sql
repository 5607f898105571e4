-- To the planner, a table that was never analysed has few rows of any tenant, and of indexes that seem alike it takes any: an
-- order was looked up among all orders of its program. So what a row is found by leads each index but the primary key.
drop index commissioner.partners_by_program;
create index partners_by_program on commissioner.partners (program, tenant, registered_at, partner_id);
alter table commissioner.partners drop constraint partners_tenant_program_email_key_key;
alter table commissioner.partners add constraint partners_email_key unique (program, email_key, tenant);
drop index commissioner.orders_by_customer;
create index orders_by_customer on commissioner.orders (customer_id, tenant, program);
drop index commissioner.commissions_by_partner;
create index commissions_by_partner on commissioner.commissions (partner_id, tenant, ordered_at, commission_id);
drop index commissioner.transfers_by_partner;
create index transfers_by_partner on commissioner.transfers (partner_id, tenant, booked_at, transfer_id);
drop index commissioner.transfers_by_program;
create index transfers_by_program on commissioner.transfers (program, tenant, booked_at, transfer_id);
drop index commissioner.payouts_by_program;
create index payouts_by_program on commissioner.payouts (program, tenant, reserved_at, payout_id);
drop index commissioner.payouts_by_partner;
create index payouts_by_partner on commissioner.payouts (partner_id, tenant, reserved_at, payout_id);
