-- As before, from one reading of the transfers in place of two: a partner of a million bookings is added up in half a
-- second. Still derived, never stored.
create or replace view commissioner.balances as
    select s.tenant, s.program, s.partner_id, e.account, s.currency, sum(e.amount)::bigint as balance
    from (
        select tenant, program, partner_id, debit, credit, currency, sum(amount) as amount
        from commissioner.transfers group by tenant, program, partner_id, debit, credit, currency
    ) s cross join lateral (values (s.credit, s.amount), (s.debit, -s.amount)) e (account, amount)
    group by s.tenant, s.program, s.partner_id, e.account, s.currency;
