-- Every order at the authority: what the budget is counted by, and where each stands.
create table brander.certificate_orders (
    tenant      text        not null,
    order_id    uuid        not null,
    host        text        not null,
    -- What somebody registered: authorities count certificates by it.
    registered  text        not null,
    status      text        not null check (status in ('opening', 'ordered', 'checking', 'ready', 'issued', 'failed')),
    order_url   text,
    -- The challenge's file and what it says. RFC 8555, 8.3.
    token       text,
    answer      text,
    -- The certificate's private key, sealed.
    sealed_key  bytea,
    opened_at   timestamptz not null,
    finished_at timestamptz,
    primary key (tenant, order_id)
);
create index on brander.certificate_orders (opened_at);
create index on brander.certificate_orders (registered, finished_at) where status = 'issued';
create index on brander.certificate_orders (token) where token is not null;
create index on brander.certificate_orders (tenant, host, opened_at);

-- The certificate in use for each host of a tenant.
create table brander.certificates (
    tenant     text        not null,
    host       text        not null,
    -- PEM, the host's own first.
    chain      text        not null,
    sealed_key bytea       not null,
    until      timestamptz not null,
    issued_at  timestamptz not null,
    primary key (tenant, host)
);
