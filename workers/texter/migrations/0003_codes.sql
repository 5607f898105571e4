-- One row per verification: at most one waits for each tenant, recipient and purpose.
create table texter.verifications (
    tenant          text        not null,
    verification_id uuid        not null,
    recipient       text        not null,
    purpose         text        not null,
    country         text        not null,
    prefix          text        not null,
    -- Keyed hash of tenant, recipient, purpose, verification and code.
    code_hash       bytea       not null,
    digits          integer     not null,
    status          text        not null check (status in ('waiting', 'verified', 'used_up', 'expired')),
    sends           integer     not null,
    checks          integer     not null default 0,
    most_checks     integer     not null,
    created_at      timestamptz not null,
    expires_at      timestamptz not null,
    verified_at     timestamptz,
    primary key (tenant, verification_id)
);
create unique index verifications_waiting on texter.verifications (tenant, recipient, purpose) where status = 'waiting';
create index verifications_recent on texter.verifications (tenant, country, created_at);

-- Who has used all checks up waits, longer each time.
create table texter.lockouts (
    tenant    text        not null,
    recipient text        not null,
    purpose   text        not null,
    level     integer     not null,
    until     timestamptz not null,
    primary key (tenant, recipient, purpose)
);

-- Every code that was asked for, for the limits.
create table texter.code_requests (
    tenant     text        not null,
    message_id uuid        not null,
    verification_id uuid,
    at         timestamptz not null,
    recipient  text        not null,
    prefix     text        not null,
    country    text        not null,
    ip         text        not null,
    primary key (tenant, message_id)
);
create index code_requests_recipient on texter.code_requests (tenant, recipient, at);
create index code_requests_ip on texter.code_requests (tenant, ip, at) where ip <> '';
create index code_requests_prefix on texter.code_requests (tenant, prefix, at);
create index code_requests_country on texter.code_requests (tenant, country, at);

-- Alarms that were raised, each once in its window.
create table texter.alarms (
    tenant text        not null,
    kind   text        not null,
    key    text        not null,
    window_start timestamptz not null,
    primary key (tenant, kind, key, window_start)
);
