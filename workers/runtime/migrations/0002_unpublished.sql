-- One row for each transaction that ended several commands at once: what the bus may not have yet. It is taken away with
-- the next transaction after the bus has all of it; the sweeper finds what is left. So a command that goes its ordinary
-- course is written once: its row in bus.inbox stands with published_at set, and is unpublished as long as it is named here.
create table bus.unpublished (
    id          uuid        primary key,
    consumer    text        not null,
    tenants     text[]      not null,
    message_ids uuid[]      not null,
    at          timestamptz not null default now()
);
