-- An order is written once and asked about seldom, and each row of an index costs it more than a row of a table does.
--
-- What an order earned is found by its transfers, which have their commissions' ids.
drop index commissioner.commissions_by_order;
-- As of the other indexes, what a row is found by leads.
drop index commissioner.transfers_by_order;
create index transfers_by_order on commissioner.transfers (order_id, tenant, program) where order_id is not null;
drop index commissioner.customers_by_partner;
create index customers_by_partner on commissioner.customers (partner_id, tenant, bound_at, customer_id);
-- A customer who is bound has one order that bound them; those after it are looked for. Nobody looks for orders of the
-- unbound.
drop index commissioner.orders_by_customer;
create index orders_of_bound on commissioner.orders (customer_id, tenant, program) where attribution = 'bound';
