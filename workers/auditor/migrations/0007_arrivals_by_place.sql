-- Arrivals are taken in the order of (txid, pos), which has its index, and by the place where they lie. A worker that
-- still finds them by `pos` alone is slower without this one, and as right.
alter table auditor.arrivals drop constraint arrivals_pkey;
