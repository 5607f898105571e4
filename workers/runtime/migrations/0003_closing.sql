-- Closing an attempt is a heap-only update: no index names what it changes, neither as a column nor in its condition, and
-- the pages have room for it. What is held is found by a column of its own, which an ordinary end leaves as it is.
alter table bus.attempts set (fillfactor = 70);
alter table bus.attempts add column held boolean not null generated always as (coalesce(result = 'held', false)) stored;
drop index bus.attempts_held;
create index attempts_held on bus.attempts (tenant, consumer) where held;

-- A note lives for a moment: its long lists are not worth compressing.
alter table bus.unpublished alter column tenants set storage external, alter column message_ids set storage external;
