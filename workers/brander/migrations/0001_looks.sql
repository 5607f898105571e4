-- One row a tenant: what numbers were handed out, and what people see.
create table brander.tenants (
    tenant          text    primary key,
    -- The newest version's number; 0 before the first.
    newest          integer not null default 0,
    -- The highest revision that was handed out to an activation. In milliseconds since 1970 or one more than the last,
    -- whichever is higher: a database that was restored from a backup hands out none that readers have seen before.
    revision        bigint  not null default 0,
    active_version  integer,
    active_revision bigint  not null default 0
);

-- Versions are made and never changed, but for when they were last activated.
create table brander.versions (
    tenant          text        not null references brander.tenants,
    version         integer     not null check (version > 0),
    version_id      uuid        not null,
    look            jsonb       not null,
    -- The stylesheet as pages carry it: scoped, and only what is allowed.
    css             text        not null,
    contrast_faults integer     not null,
    hints           jsonb       not null,
    created_at      timestamptz not null,
    activated_at    timestamptz,
    primary key (tenant, version)
);

-- Every switch, in the order of revisions.
create table brander.activations (
    tenant     text        not null references brander.tenants,
    revision   bigint      not null,
    command_id uuid        not null,
    version    integer     not null,
    why        text        not null check (why in ('activated', 'rolled_back', 'scheduled', 'reverted')),
    -- The revision to which a rollback goes from here.
    back       bigint,
    -- open: on its way into the bucket. done: it stood there. superseded: a higher one was quicker. failed: given up.
    status     text        not null default 'open' check (status in ('open', 'done', 'superseded', 'failed')),
    opened_at  timestamptz not null,
    primary key (tenant, revision),
    unique (tenant, command_id),
    foreign key (tenant, version) references brander.versions
);

create table brander.schedules (
    tenant      text        not null,
    schedule_id uuid        not null,
    version     integer     not null,
    starts_at   timestamptz not null,
    ends_at     timestamptz check (ends_at > starts_at),
    status      text        not null check (status in ('waiting', 'running', 'over', 'skipped', 'cancelled')),
    -- The revision that its beginning made.
    revision    bigint,
    created_at  timestamptz not null,
    primary key (tenant, schedule_id),
    foreign key (tenant, version) references brander.versions
);
create index on brander.schedules (tenant, starts_at desc, schedule_id);

-- What each tenant may use. The content stands in the bucket `assets`, once however many tenants stored it.
create table brander.assets (
    tenant    text        not null,
    hash      text        not null check (hash ~ '^[0-9a-f]{64}$'),
    kind      text        not null check (kind in ('png', 'jpeg', 'webp', 'avif', 'svg', 'woff2')),
    bytes     bigint      not null,
    width     integer,
    height    integer,
    -- The same for mail programs, PNG or JPEG.
    mail_hash text,
    stored_at timestamptz not null,
    primary key (tenant, hash)
);
create index on brander.assets (hash);
create index on brander.assets (mail_hash);

-- Secrets that all replicas share, made by the first that needs one.
create table brander.keys (
    name  text  primary key,
    value bytea not null
);
