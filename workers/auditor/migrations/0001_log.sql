-- What is on the record already, by the digest of what it is (kind, tenant, ce-id). One row for an entry's whole life.
create table auditor.ids (
    key uuid primary key,
    seen_at timestamptz not null default now()
);

-- Entries without an index yet. Rows are added by any number of writers; one sequencer takes them away.
create table auditor.arrivals (
    pos bigint generated always as identity primary key,
    txid xid8 not null default pg_current_xact_id(),
    key uuid not null,
    tenant text not null,
    body text not null,
    salt bytea not null,
    sealed text
) with (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 20000, autovacuum_vacuum_cost_delay = 0);
create index arrivals_order on auditor.arrivals (txid, pos);

-- The log. A row never changes; a partition is a month and goes as a whole, with a tombstone for each tenant.
create table auditor.entries (
    tenant text not null,
    idx bigint not null,
    sequenced_at timestamptz not null,
    key uuid not null,
    leaf text not null,
    salt bytea not null,
    sealed text,
    primary key (tenant, idx, sequenced_at)
) partition by range (sequenced_at);
create index entries_key on auditor.entries (key);

-- The Merkle tree's hashes, 256 to a tile (c2sp.org/tlog-tiles). They outlive the entries.
create table auditor.tiles (
    tenant text not null,
    level smallint not null,
    number bigint not null,
    hashes bytea not null,
    primary key (tenant, level, number)
);
alter table auditor.tiles alter column hashes set storage external;

-- Each tenant's head.
create table auditor.heads (
    tenant text primary key,
    size bigint not null,
    root bytea not null,
    checkpoint text not null,
    signed_at timestamptz not null
);

-- The last head of each hour, for those who kept an old one.
create table auditor.past_heads (
    tenant text not null,
    hour timestamptz not null,
    size bigint not null,
    checkpoint text not null,
    primary key (tenant, hour)
);

-- The key of each person's fields, wrapped; null once it is destroyed. A pseudonym is a keyed digest.
create table auditor.subjects (
    tenant text not null,
    pseudonym bytea not null,
    wrapped bytea,
    erased_at timestamptz,
    primary key (tenant, pseudonym),
    check ((wrapped is null) = (erased_at is not null))
);

-- The ledger of erasures. A file beside the tiles has it too: a restored database is held against that one.
create table auditor.erasures (
    tenant text not null,
    erasure_id uuid not null,
    pseudonym bytea not null,
    reason text not null,
    erased_at timestamptz not null,
    filed boolean not null default false,
    primary key (tenant, erasure_id)
);
create index erasures_unfiled on auditor.erasures (erased_at) where not filed;

create table auditor.holds (
    tenant text not null,
    hold_id uuid not null,
    reason text not null,
    placed_at timestamptz not null,
    lifted_at timestamptz,
    primary key (tenant, hold_id)
);

-- What was removed after its retention, said in a signed note.
create table auditor.tombstones (
    tenant text not null,
    first_idx bigint not null,
    last_idx bigint not null,
    note text not null,
    primary key (tenant, first_idx)
);
