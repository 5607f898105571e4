-- A commission's id is made from all that the six columns of its key said, and begins with a time, so that keys are added
-- where the last one was. An order has its commissions written with its own row, which is there once.
alter table commissioner.commissions drop constraint commissions_pkey;
drop index commissioner.commissions_by_id;
alter table commissioner.commissions add primary key (tenant, commission_id);
create index commissions_by_order on commissioner.commissions (order_id, tenant, program);
