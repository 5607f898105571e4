-- One row per command (or event reacted to) and consumer. It is the fence: who inserts it, decides.
-- The row carries its outbox: `messages` holds what the command caused, encoded, until and after it is published.
--
-- The tenant is part of the key. Ids come from callers, and a tenant must not be able to occupy another tenant's.
--
-- No index names a column that the ordinary course of a command updates, apart from published_at; so finishing a row
-- is a heap-only update, for which the pages are left half empty.
create table bus.inbox (
    consumer     text        not null,
    tenant       text        not null,
    message_id   uuid        not null,
    name         text        not null,
    sequence     bigint      not null,
    deliveries   integer     not null,
    outcome      text        check (outcome in ('succeeded', 'rejected', 'dead_lettered', 'held')),
    messages     bytea,
    detail       text,
    received_at  timestamptz not null,
    finished_at  timestamptz,
    published_at timestamptz,
    primary key (consumer, tenant, message_id)
) with (fillfactor = 70);

-- For the republishing sweeper: what is not published, oldest first. Nearly empty at all times.
create index inbox_unpublished on bus.inbox (received_at) where published_at is null;
-- For the trimmer; block ranges suffice, for rows are written in the order of this column.
create index inbox_received on bus.inbox using brin (received_at);

-- Failed tries of commands that are to be tried again. A command that never failed has no row.
create table bus.retries (
    consumer   text        not null,
    tenant     text        not null,
    message_id uuid        not null,
    spent      integer     not null,
    last_error text        not null,
    at         timestamptz not null,
    primary key (consumer, tenant, message_id)
);

-- The attempt ledger: one row per call that leaves the platform, written before it leaves.
-- `attempt_id` changes when another worker takes an attempt over, so that the first one's late record is noticed.
create table bus.attempts (
    consumer    text        not null,
    tenant      text        not null,
    message_id  uuid        not null,
    number      integer     not null,
    attempt_id  uuid        not null unique,
    plan        bytea       not null,
    started_at  timestamptz not null,
    lease_until timestamptz not null,
    takeovers   integer     not null default 0,
    closed_at   timestamptz,
    result      text        check (result in ('done', 'not_done', 'refused', 'unknown', 'held')),
    detail      text,
    primary key (consumer, tenant, message_id, number)
);

create index attempts_held on bus.attempts (tenant, closed_at) where result = 'held';
create index attempts_started on bus.attempts using brin (started_at);
